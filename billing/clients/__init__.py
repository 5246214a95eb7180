"""The outside of billing: the gateways' counters of money, and the folder of exports."""
