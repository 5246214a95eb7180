"""Two sandboxes on one machine have addresses of their own."""

import ipaddress

from sandbox.cluster.network import claim


def test_it_gives_two_folders_networks_that_do_not_meet(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    a, _ = claim(tmp_path / "a")
    (tmp_path / "b/network.json").write_text((tmp_path / "a/network.json").read_text())
    b, same = claim(tmp_path / "b")  # it had the address of the other one
    try:
        assert not same
        assert not ipaddress.ip_network(a.pods).overlaps(ipaddress.ip_network(b.pods))
        assert ipaddress.ip_address(a.first_node).is_loopback
    finally:
        a.release()
        b.release()


def test_it_keeps_the_network_of_a_folder(tmp_path):
    first, same = claim(tmp_path)
    assert not same
    first.release()
    again, same = claim(tmp_path)
    again.release()
    assert same
    assert again.number == first.number
