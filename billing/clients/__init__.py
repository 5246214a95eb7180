"""The outside of billing: the gateways' counters of money, the folder of exports, and paper."""
