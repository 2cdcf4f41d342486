import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.api.address import is_loopback, stays_on_this_machine


@pytest.mark.parametrize(
    "target",
    [
        "localhost:50051", "127.0.0.1:1", "127.9.9.9", "localhost", "[::1]:50051", "::1", "dns:///localhost:80",
        "dns://8.8.8.8/127.0.0.1:80", "ipv4:127.0.0.1:80", "ipv4:127.0.0.1:80,127.0.0.2:80", "ipv6:[::1]:80",
        "unix:/run/curator.sock", "unix:///run/curator.sock", "unix-abstract:curator",
    ],
)  # fmt: skip
def test_a_target_on_this_machine_is_known(target):
    assert stays_on_this_machine(target)


@pytest.mark.parametrize(
    "target",
    [
        "", "10.0.0.4:50051", "example.org:50051", "localhost.example.org:1", "0.0.0.0:1", "[::]:1", "::", "dns:///a:1",
        "dns://127.0.0.1/a:1", "ipv4:127.0.0.1:80,10.0.0.4:80", "ipv6:[2001:db8::1]:80", "xds:///localhost", "127.0.0.1.a:1",
        "http://localhost:1", "user@localhost:1", "localhost:1/a", "127.1:1", "unix", "ipv4:", ":50051", "127.0.0.1:x",
    ],
)  # fmt: skip
def test_everything_else_counts_as_elsewhere(target):
    assert not stays_on_this_machine(target)


@settings(deadline=None, max_examples=50)
@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_address_with_a_port_is_judged_like_the_address(address, port):
    host = f"[{address}]" if address.version == 6 else str(address)
    assert stays_on_this_machine(f"{host}:{port}") == is_loopback(host) == address.is_loopback


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=30))
def test_any_text_gets_an_answer(text):
    assert stays_on_this_machine(text) in {True, False}
