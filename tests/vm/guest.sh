#!/bin/dash
# Inside the virtual machine of `cargo xtask vm-test`: the real ferrolev against this kernel's own tunnels.
#
#            10.1.0.0/24, fd01::/64            10.2.0.0/24, fd02::/64
#   client ------------------------- balancer ------------------------- backend
#      c0   VLAN 20: 10.20.0.0/24   eth0    eth1  VLAN 10: 10.10.0.0/24   eth0
#      c1 ------------------------------------------------------------- eth1
#                            10.3.0.0/24, fd03::/64 (replies)
#
# Each vip has one backend, so that its name says which headers a request travels in: the vip's family in the backend's.
# Prints one line for each check, "PASS name" or "FAIL name: why".

. /common.sh

# answers NAME NAMESPACE ADDRESS: whether the backend's page comes back.
answers() {
    if reply=$(at "$2" curl -sS -g -m 5 "http://$3/" 2>&1) && [ "$reply" = "the backend" ]; then
        pass "$1"
    else
        fail "$1" "http://$3/: $reply"
    fi
}

# silent NAME NAMESPACE ADDRESS: the proof that an answer elsewhere means something.
silent() {
    if reply=$(at "$2" curl -sS -g -m 1 "http://$3/" 2>&1); then
        fail "$1" "http://$3/ answered: $reply"
    else
        pass "$1"
    fi
}

# decap NAMESPACE INTERFACE: starts the agent; `decap_pid` is its process, `decap_log` what it says.
decap() {
    decap_log=/run/decap-$1.log
    at "$1" ferrolev decap --dev "$2" > "$decap_log" 2>&1 &
    decap_pid=$!
    waits grep -q "taking tunnels in" "$decap_log"
}

namespaces() {
    for name in client balancer backend sender receiver; do
        ip netns add "$name"
        ip -n "$name" link set lo up
        for setting in ipv4.conf.all.rp_filter ipv4.conf.default.rp_filter ipv6.conf.all.accept_dad; do
            at "$name" sysctl -q -w "net.$setting=0"
        done
    done
}

# cable NAMESPACE INTERFACE NAMESPACE INTERFACE NETWORK: addresses end in 1 and 2.
cable() {
    ip link add "$2" netns "$1" type veth peer name "$4" netns "$3"
    cable_end "$1" "$2" "$5" 1
    cable_end "$3" "$4" "$5" 2
}

# cable_end NAMESPACE INTERFACE NETWORK NUMBER. With receive offload on, a veth takes frames from XDP without a program
# of its own; the other two settings put checksums and VLAN tags into the frame from the start.
cable_end() {
    at "$1" ethtool -K "$2" gro on tx off txvlan off > /dev/null
    at "$1" sysctl -q -w "net.ipv4.conf.$2.rp_filter=0"
    ip -n "$1" link set "$2" up
    ip -n "$1" address add "10.$3.0.$4/24" dev "$2"
    ip -n "$1" address add "fd0$3::$4/64" dev "$2" nodad
}

# vlan NAMESPACE INTERFACE ID ADDRESS
vlan() {
    ip -n "$1" link add link "$2" name "$2.$3" type vlan id "$3"
    ip -n "$1" link set "$2.$3" up
    ip -n "$1" address add "$4" dev "$2.$3"
}

network() {
    namespaces
    cable balancer eth0 client c0 1
    cable balancer eth1 backend eth0 2
    cable client c1 backend eth1 3
    cable sender eth0 receiver eth0 4
    vlan balancer eth1 10 10.10.0.1/24
    vlan backend eth0 10 10.10.0.2/24
    vlan balancer eth0 20 10.20.0.1/24
    vlan client c0 20 10.20.0.2/24

    ip -n client route add 203.0.113.0/24 via 10.1.0.1
    ip -n client route add 203.0.113.20/32 via 10.20.0.1
    ip -n client -6 route add 2001:db8:f::/64 via fd01::1
    ip -n backend route add 10.1.0.0/24 via 10.3.0.1
    ip -n backend route add 10.20.0.0/24 via 10.3.0.1
    ip -n backend -6 route add fd01::/64 via fd03::1
    vips | while read -r _ _ address _; do
        case $address in
            *:*) ip -n backend address add "$address/128" dev lo nodad ;;
            *) ip -n backend address add "$address/32" dev lo ;;
        esac
    done
    at backend sysctl -q -w net.ipv4.conf.all.arp_ignore=1
    mkdir -p /run/www/cgi-bin
    echo "the backend" > /run/www/index.html
    count_page > /run/www/cgi-bin/count
    chmod +x /run/www/cgi-bin/count
    at backend httpd -p '[::]:80' -h /run/www
    at receiver httpd -p '[::]:80' -h /run/www
}

# kernel_tunnels NAMESPACE up|down: whether the kernel takes tunnels in, IPv4 and IPv6 in either.
kernel_tunnels() {
    for device in tunl0 sit0 ip6tnl0; do
        ip -n "$1" link set "$device" "$2"
        at "$1" sysctl -q -w "net.ipv4.conf.$device.rp_filter=0"
    done
    # As it is made, ip6tnl0 takes IPv6 only.
    ip -n "$1" -6 tunnel change ip6tnl0 mode any
}

# gue_port NAMESPACE add|del: whether the kernel takes GUE in, in IPv4 and in IPv6; what is inside goes to its tunnels.
gue_port() {
    ip -n "$1" fou "$2" port 6080 gue
    ip -n "$1" -6 fou "$2" port 6080 gue
}

# Name, mode, address, backend, and a setting.
vips() {
    cat << 'VIPS'
4in4 ipip 203.0.113.44 by-ipv4
4in6 ipip 203.0.113.46 by-ipv6
6in4 ipip 2001:db8:f::64 by-ipv4
6in6 ipip 2001:db8:f::66 by-ipv6
to-vlan ipip 203.0.113.10 by-vlan
from-vlan ipip 203.0.113.20 by-ipv4
gue-4in4 gue 203.0.113.54 by-ipv4
gue-4in6 gue 203.0.113.56 by-ipv6
gue-6in4 gue 2001:db8:f::74 by-ipv4
gue-6in6 gue 2001:db8:f::76 by-ipv6
l2-4 l2 203.0.113.2 by-ipv4
l2-6 l2 2001:db8:f::2 by-ipv6
l2-vlan l2 203.0.113.12 by-vlan
on-link ipip 10.1.0.100 by-ipv4 announce = "arp"
on-link-6 ipip fd01::100 by-ipv6 announce = "arp"
on-link-vlan ipip 10.20.0.100 by-ipv4 announce = "arp"
denying ipip 203.0.113.60 by-ipv4 deny = ["10.1.0.0/24"]
denying-6 ipip 2001:db8:f::60 by-ipv6 deny = ["fd01::/64"]
rejecting ipip 203.0.113.62 by-ipv4 unknown_ports = "reject"
rejecting-6 ipip 2001:db8:f::62 by-ipv6 unknown_ports = "reject"
VIPS
}

# configuration VARIANT: of GUE.
configuration() {
    echo 'interfaces = ["eth0", "eth1"]'
    printf '[[backend]]\nname = "%s"\naddress = "%s"\n' by-ipv4 10.2.0.2 by-ipv6 fd02::2 by-vlan 10.10.0.2
    vips | while read -r name mode address backend option; do
        printf '[[vip]]\nname = "%s"\nmode = "%s"\naddress = "%s"\nport = 80\nprotocol = "tcp"\nring_size = 251\nbackends = ["%s"]\n%s\n' \
            "$name" "$mode" "$address" "$backend" "$option"
    done
    printf '[tunnel]\ngue_variant = %s\n' "$1"
    # One that the kernel gets, and a vip's that the program answers for.
    printf '[[vrrp.router]]\nname = "in-vlan"\ninterface = "eth0.20"\nrouter_id = 20\naddresses = ["%s", "%s"]\n' \
        10.20.0.200/24 10.20.0.100
}

# Every backend has its next hop.
all_active() {
    status=$(at balancer ferrolev status -o json | tr -d ' \n') || return 1
    case $status in
        *'"state":"unresolved"'*) return 1 ;;
        *'"state":"healthy"'*) return 0 ;;
        *) return 1 ;;
    esac
}

daemon() {
    configuration 1 > /run/ferrolev.toml
    mkdir -p /run/ferrolev /run/state
    at balancer ferrolev run --config /run/ferrolev.toml --state-dir /run/state > /run/daemon.log 2>&1 &
    if waits all_active; then
        pass "the verifier accepts the program, and ferrolev run attaches it natively"
    else
        fail "ferrolev run" "$(cat /run/daemon.log)"
        at balancer ferrolev status
        return 1
    fi
}

# explains NAME SOURCE DESTINATION BACKEND
explains() {
    reply=$(at balancer ferrolev explain "$2" "$3" tcp -o json | tr -d ' \n')
    case $reply in
        *'"verdict":"forward"'*"\"backend\":\"$4\""*) pass "$1" ;;
        *) fail "$1" "$reply" ;;
    esac
}

explain_agrees() {
    explains "explain: 4in4" 10.1.0.2:40000 203.0.113.44:80 by-ipv4
    explains "explain: 4in6" 10.1.0.2:40000 203.0.113.46:80 by-ipv6
    explains "explain: 6in4" "[fd01::2]:40000" "[2001:db8:f::64]:80" by-ipv4
    explains "explain: 6in6" "[fd01::2]:40000" "[2001:db8:f::66]:80" by-ipv6
    explains "explain: to a VLAN" 10.1.0.2:40000 203.0.113.10:80 by-vlan
}

# all_answer BY: requests in all four combinations, and over VLANs.
all_answer() {
    answers "4in4 into $1" client 203.0.113.44
    answers "4in6 into $1" client 203.0.113.46
    answers "6in4 into $1" client "[2001:db8:f::64]"
    answers "6in6 into $1" client "[2001:db8:f::66]"
    answers "to a backend in a VLAN, into $1" client 203.0.113.10
    answers "from a client in a VLAN, into $1" client 203.0.113.20
}

# gue_answers BY: all four combinations in UDP.
gue_answers() {
    answers "4in4 in GUE into $1" client 203.0.113.54
    answers "4in6 in GUE into $1" client 203.0.113.56
    answers "6in4 in GUE into $1" client "[2001:db8:f::74]"
    answers "6in6 in GUE into $1" client "[2001:db8:f::76]"
}

# A port of the kernel that takes one inner protocol, without a header.
plain_ports_answer() {
    ip -n backend fou add port 6080 ipproto 4
    answers "4in4 in GUE into the kernel's plain port" client 203.0.113.54
    ip -n backend fou del port 6080
    ip -n backend -6 fou add port 6080 ipproto 41
    answers "6in6 in GUE into the kernel's plain port" client "[2001:db8:f::76]"
    ip -n backend -6 fou del port 6080
}

# both_variants BY: the second one after a reload; then back.
both_variants() {
    gue_answers "$1, variant 1"
    configuration 0 > /run/ferrolev.toml
    if reply=$(at balancer ferrolev reload 2>&1); then
        gue_answers "$1, variant 0"
    else
        fail "reload with another variant of GUE" "$reply"
    fi
    configuration 1 > /run/ferrolev.toml
    at balancer ferrolev reload > /dev/null
}

l2_answers() {
    answers "IPv4 by MAC address" client 203.0.113.2
    answers "IPv6 by MAC address" client "[2001:db8:f::2]"
    answers "by MAC address into a VLAN" client 203.0.113.12
}

next_hop_shows_vlan() {
    all_active
    case $status in
        *'"vlan":10'*) pass "status shows the VLAN of a next hop" ;;
        *) fail "status shows the VLAN of a next hop" "$status" ;;
    esac
}

is_master() {
    case $(at balancer ferrolev vrrp show -o json | tr -d ' \n') in
        *'"name":"in-vlan"'*'"role":"master"'*) return 0 ;;
        *) return 1 ;;
    esac
}

elected_answers() {
    at client ping -c 1 -W 2 10.20.0.200
}

# A virtual router in a VLAN.
elected_in_vlan() {
    if waits is_master && waits elected_answers; then
        pass "a virtual router in a VLAN is master, and its address answers there"
    else
        fail "a virtual router in a VLAN" "$(at balancer ferrolev vrrp show in-vlan)"
    fi
}

# tunnel NAME KIND LOCAL REMOTE [OPTION...]: a tunnel of the kernel from the sender.
tunnel() {
    name=$1 kind=$2 local=$3 remote=$4
    shift 4
    ip -n sender link add "$name" type "$kind" local "$local" remote "$remote" "$@"
    ip -n sender link set "$name" up
}

# gue_tunnel: the same, in GUE.
gue_tunnel() { tunnel "$@" encap gue encap-sport auto encap-dport 6080 encap-csum; }

# through NAME ADDRESS SOURCE: the sender's packets for ADDRESS go into that tunnel.
through() {
    ip -n sender route add "$2" dev "$1" src "$3"
    ip -n receiver address add "$2" dev lo
}

# What checks of GUE rest on: that this kernel speaks it with itself.
kernel_sends_gue_kernel_receives() {
    gue_tunnel gue4 ipip 10.4.0.1 10.4.0.2
    gue_tunnel gue6 ip6tnl fd04::1 fd04::2 mode any encaplimit none
    through gue4 198.51.100.54 10.4.0.1
    through gue6 2001:db8:e::76 fd04::1
    kernel_tunnels receiver up
    silent "nobody takes GUE in yet" sender 198.51.100.54
    gue_port receiver add
    answers "the kernel's 4in4 in GUE into the kernel's" sender 198.51.100.54
    answers "the kernel's 6in6 in GUE into the kernel's" sender "[2001:db8:e::76]"
    gue_port receiver del
    kernel_tunnels receiver down
    # No second tunnel between the same ends can be.
    ip -n sender link del gue4
    ip -n sender link del gue6
}

kernel_sends_decap_receives() {
    tunnel ipip ipip 10.4.0.1 10.4.0.2
    tunnel sit sit 10.4.0.1 10.4.0.2
    tunnel ip6tnl ip6tnl fd04::1 fd04::2 mode any encaplimit none
    through ipip 198.51.100.44 10.4.0.1
    through sit 2001:db8:e::64 fd04::1
    through ip6tnl 198.51.100.46 10.4.0.1
    through ip6tnl 2001:db8:e::66 fd04::1
    decap receiver eth0 || fail "ferrolev decap on the receiver" "$(cat "$decap_log")"
    answers "the kernel's 4in4 into ferrolev decap" sender 198.51.100.44
    answers "the kernel's 6in4 into ferrolev decap" sender "[2001:db8:e::64]"
    answers "the kernel's 4in6 into ferrolev decap" sender 198.51.100.46
    answers "the kernel's 6in6 into ferrolev decap" sender "[2001:db8:e::66]"
    # No second tunnel between the same ends can be.
    ip -n sender link del ipip
    ip -n sender link del ip6tnl
    gue_tunnel gue4 ipip 10.4.0.1 10.4.0.2
    gue_tunnel gue6 ip6tnl fd04::1 fd04::2 mode any encaplimit none
    ip -n sender route add 198.51.100.54 dev gue4 src 10.4.0.1
    ip -n sender route add 2001:db8:e::76 dev gue6 src fd04::1
    answers "the kernel's 4in4 in GUE into ferrolev decap" sender 198.51.100.54
    answers "the kernel's 6in6 in GUE into ferrolev decap" sender "[2001:db8:e::76]"
}

# fuzzing WORLD: the program on this kernel does with random packets what the host's build does.
fuzzing() {
    if reply=$(fuzz --seed 1 --world "$1" --packets 3000 2>&1); then
        pass "$1: $(echo "$reply" | tail -n 1 | sed 's/ in .*:/:/')"
    else
        fail "fuzzing of $1" "$reply"
    fi
}

. /answers.sh

fuzzing answering
network
kernel_sends_gue_kernel_receives
kernel_sends_decap_receives
if daemon; then
    explain_agrees
    elected_in_vlan
    next_hop_shows_vlan
    silent "nobody takes a tunnel in yet" client 203.0.113.44
    l2_answers
    kernel_tunnels backend up
    all_answer "the kernel's tunnels"
    own_answers
    silent "nobody takes GUE of ours in yet" client 203.0.113.54
    gue_port backend add
    both_variants "the kernel's port"
    gue_port backend del
    plain_ports_answer
    kernel_tunnels backend down
    silent "the kernel takes no tunnel in any more" client 203.0.113.44
    if decap backend eth0; then
        all_answer "ferrolev decap"
        both_variants "ferrolev decap"
        kill "$decap_pid"
    else
        fail "ferrolev decap" "$(cat "$decap_log")"
    fi
fi
