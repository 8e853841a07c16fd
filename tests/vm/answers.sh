# Read by guest.sh: what the balancer's program answers and refuses itself, on guest.sh's network. Every reason is looked up in
# the daemon's counters as well, since a host's kernel answers ARP and pings too.

# counts REASON: whether packets ended with it.
counts() {
    objects=$(at balancer ferrolev stats -o json | tr -d ' \n' | tr '}' '\n')
    packets=$(echo "$objects" | grep "\"reason\":\"$1\"" | sed 's/.*"packets":\([0-9]*\).*/\1/')
    case $packets in
        '' | 0) fail "$1 is counted" "'$packets' packets" ;;
        *) pass "$1 is counted" ;;
    esac
}

# pings NAME NAMESPACE ADDRESS BYTES
pings() {
    if reply=$(at "$2" ping -c 2 -i 0.2 -W 5 -s "$4" "$3" 2>&1); then
        pass "$1"
    else
        fail "$1" "$reply"
    fi
}

# Found by ARP or neighbour solicitations: no route leads to these.
neighbours_are_answered() {
    answers "a vip on the client's link, found by ARP" client 10.1.0.100
    answers "a vip on the client's link, found by a neighbour solicitation" client "[fd01::100]"
    answers "a vip in the client's VLAN, found by ARP" client 10.20.0.100
    counts arp_reply
    counts neighbour_reply
}

echo_is_answered() {
    pings "ping of a vip on the link" client 10.1.0.100 56
    pings "ping of a vip in a VLAN" client 10.20.0.100 1
    pings "ping of a vip behind a route" client 203.0.113.44 1400
    pings "ping of an IPv6 vip on the link" client fd01::100 56
    pings "ping of an IPv6 vip behind a route" client 2001:db8:f::64 1400
    counts echo_reply
}

# answers_as NAME SOURCE ADDRESS: the same vip for another source.
answers_as() {
    if reply=$(at client curl -sS -g -m 5 --interface "$2" "http://$3/" 2>&1) && [ "$reply" = "the backend" ]; then
        pass "$1"
    else
        fail "$1" "http://$3/ from $2: $reply"
    fi
}

lists_decide() {
    silent "a source that a vip denies" client 203.0.113.60
    silent "an IPv6 source that a vip denies" client "[2001:db8:f::60]"
    answers_as "another source, which it does not deny" 10.20.0.2 203.0.113.60
    counts access_denied
}

# rejects NAME ADDRESS
rejects() {
    reply=$(at client curl -sSv -g -m 2 "http://$2:81/" 2>&1)
    case $reply in
        *"Connection refused"*) pass "$1" ;;
        *) fail "$1" "http://$2:81/: $reply" ;;
    esac
}

closed_ports_are_rejected() {
    rejects "a closed port of a vip refuses" 203.0.113.62
    rejects "a closed port of an IPv6 vip refuses" "[2001:db8:f::62]"
    counts reject_reply
}

# The page that says how many bytes it was sent.
count_page() {
    echo '#!/bin/dash'
    echo 'echo "Content-Type: text/plain"; echo; wc -c'
}

# uploads NAME ADDRESS: segments that leave no room for an outer header. The kernel's TCP sets "don't fragment".
uploads() {
    if reply=$(at client curl -sS -g -m 20 -H Expect: --data-binary @/run/upload "http://$2/cgi-bin/count" 2>&1) && [ "$reply" = 200000 ]; then
        pass "$1"
    else
        fail "$1" "http://$2/: $reply"
    fi
}

# learns ADDRESS MTU: what the client's kernel took from the answer.
learns() {
    reply=$(ip -n client route get "$1")
    case $reply in
        *"mtu $2"*) pass "the client knows that $2 bytes fit for $1" ;;
        *) fail "the client knows that $2 bytes fit for $1" "$reply" ;;
    esac
}

senders_learn_what_fits() {
    head -c 200000 /dev/zero > /run/upload
    uploads "an upload over IPv4 whose packets do not fit at first" 203.0.113.44
    uploads "an upload over IPv6 whose packets do not fit at first" "[2001:db8:f::66]"
    learns 203.0.113.44 1480
    learns 2001:db8:f::66 1460
    counts too_big_reply
}

# With somebody on the backend who takes tunnels in. What the program sends back where it came from (XDP_TX) waits in a veth
# until the other end has a program as well: receive offload is not enough for that. Any program will do.
own_answers() {
    decap client c0 || fail "ferrolev decap on the client" "$(cat "$decap_log")"
    neighbours_are_answered
    echo_is_answered
    lists_decide
    closed_ports_are_rejected
    senders_learn_what_fits
}
