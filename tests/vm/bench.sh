#!/bin/dash
# Inside the virtual machine of `cargo xtask vm-test --bench`: Ferrolev beside IPVS, this kernel's own balancer, in turns in front
# of the same backends, which take tunnels in by the kernel and answer the client on a link of their own.
#
#            10.1.0.0/24            10.11.0.0/24 …
#          .------------- ferrolev ---------------.
#   client-|------------- ipvs -------------------|-- web1 web2 web3
#          | 10.2.0.0/24            10.21.0.0/24 … |
#          '--------------------------------------'
#            10.31.0.0/24 …: replies, and requests that go direct
#
# Prints "SAMPLE load who rate cost" for each run: how many requests or packets a second, and microseconds of all processors' time
# for each. The client runs on one processor, everything else on the other; the kernel handles packets where their sender runs.

. /common.sh

backends="1 2 3"
rounds=5
packets=50000

# cable NAMESPACE INTERFACE NAMESPACE INTERFACE NUMBER: addresses end in 1 and 2.
cable() {
    ip link add "$2" netns "$1" type veth peer name "$4" netns "$3"
    cable_end "$1" "$2" "$5.0.1"
    cable_end "$3" "$4" "$5.0.2"
}

# With receive offload on, a veth takes frames from XDP without a program of its own; checksums are in the frame from the start.
cable_end() {
    at "$1" ethtool -K "$2" gro on tx off > /dev/null
    at "$1" sysctl -q -w "net.ipv4.conf.$2.rp_filter=0"
    ip -n "$1" link set "$2" up
    ip -n "$1" address add "10.$3/24" dev "$2"
}

namespace() {
    ip netns add "$1"
    ip -n "$1" link set lo up
    at "$1" sysctl -q -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
}

# Addresses that answer end in 1 to 3, by who leads there; those of packets that nobody answers in 17 to 19.
address_of() {
    case $1 in
        direct) echo 203.0.113.1 ;;
        ferrolev) echo 203.0.113.2 ;;
        ipvs) echo 203.0.113.3 ;;
    esac
}
silent_address_of() {
    case $1 in
        direct) echo 203.0.113.17 ;;
        ferrolev) echo 203.0.113.18 ;;
        ipvs) echo 203.0.113.19 ;;
    esac
}

network() {
    for name in client ferrolev ipvs; do namespace "$name"; done
    cable client to-ferrolev ferrolev eth0 1
    cable client to-ipvs ipvs eth0 2
    direct=
    for number in $backends; do
        web=web$number
        namespace "$web"
        cable ferrolev "eth$number" "$web" from-ferrolev "1$number"
        cable ipvs "eth$number" "$web" from-ipvs "2$number"
        cable client "from-web$number" "$web" replies "3$number"
        direct="$direct nexthop via 10.3$number.0.2"
        ip -n "$web" route add 10.1.0.0/24 via "10.3$number.0.1"
        ip -n "$web" route add 10.2.0.0/24 via "10.3$number.0.1"
        ip -n "$web" route add blackhole 203.0.113.16/28
        ip -n "$web" link set tunl0 up
        at "$web" sysctl -q -w net.ipv4.conf.tunl0.rp_filter=0 net.ipv4.conf.all.arp_ignore=1
        for who in direct ferrolev ipvs; do
            ip -n "$web" address add "$(address_of "$who")/32" dev lo
        done
        serve "$web"
    done
    at client sysctl -q -w net.ipv4.fib_multipath_hash_policy=1 net.ipv4.ip_local_port_range="1024 65535"
    # In words of its own.
    ip -n client route add 203.0.113.1/32 src 10.1.0.1 $direct
    ip -n client route add 203.0.113.2/32 via 10.1.0.2
    ip -n client route add 203.0.113.3/32 via 10.2.0.2
}

# serve NAMESPACE
serve() {
    mkdir -p "/run/$1"
    cat > "/run/$1/nginx.conf" << CONF
daemon off;
master_process off;
user root;
pid /run/$1/pid;
error_log /run/$1/log warn;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path /run/$1/body;
    proxy_temp_path /run/$1/proxy;
    fastcgi_temp_path /run/$1/fastcgi;
    uwsgi_temp_path /run/$1/uwsgi;
    scgi_temp_path /run/$1/scgi;
    default_type text/plain;
    server { listen 80 backlog=1024; location / { return 200 "$1\n"; } }
}
CONF
    at "$1" taskset 1 nginx -c "/run/$1/nginx.conf" -e "/run/$1/log" > "/run/$1/said" 2>&1 &
}

start_ferrolev() {
    {
        echo 'interfaces = ["eth0", "eth1", "eth2", "eth3"]'
        names=
        for number in $backends; do
            printf '[[backend]]\nname = "web%s"\naddress = "10.1%s.0.2"\n' "$number" "$number"
            names="$names${names:+, }\"web$number\""
        done
        for vip in "http $(address_of ferrolev) 80 tcp" "packets $(silent_address_of ferrolev) 9 udp"; do
            set -- $vip
            printf '[[vip]]\nname = "%s"\naddress = "%s"\nport = %s\nprotocol = "%s"\nmode = "ipip"\nbackends = [%s]\n' \
                "$1" "$2" "$3" "$4" "$names"
        done
    } > /run/ferrolev.toml
    mkdir -p /run/ferrolev /run/state
    at ferrolev taskset 1 ferrolev run --config /run/ferrolev.toml --state-dir /run/state > /run/daemon.log 2>&1 &
}

# The balancer's host has the address, as IPVS needs it.
start_ipvs() {
    at ipvs sysctl -q -w net.ipv4.ip_forward=1
    ip -n ipvs address add "$(address_of ipvs)/32" dev lo
    ip -n ipvs address add "$(silent_address_of ipvs)/32" dev lo
    for service in "-t $(address_of ipvs):80" "-u $(silent_address_of ipvs):9"; do
        # In words of its own.
        at ipvs ipvsadm -A $service -s mh -b mh-port || return 1
        for number in $backends; do
            at ipvs ipvsadm -a $service -r "10.2$number.0.2:${service##*:}" -i || return 1
        done
    done
}

# reaches_all WHO: whether requests reach every backend.
reaches_all() {
    seen=
    for request in $(seq 30); do
        seen="$seen $(at client curl -sS -m 2 "http://$(address_of "$1")/" 2>&1)" || return 1
    done
    for number in $backends; do
        case $seen in
            *web$number*) ;;
            *) return 1 ;;
        esac
    done
}

reached() {
    if waits reaches_all "$1"; then
        pass "$1 reaches all backends"
    else
        fail "$1 reaches all backends" "$seen $(cat /run/daemon.log /run/web?/log /run/web?/said; at ipvs ipvsadm -Ln)"
        return 1
    fi
}

# Hundredths of a second that all processors have worked.
busy() {
    read -r _ user low system _ _ interrupts soft _ < /proc/stat
    echo $((user + low + system + interrupts + soft))
}

# requests LOAD WHO: each on a new connection.
requests() {
    load=$1 who=$2
    before=$(busy)
    said=$(at client taskset 2 wrk --threads 1 --connections 8 --duration 3s --timeout 5s --header "Connection: close" "http://$(address_of "$who")/" 2>&1)
    used=$(($(busy) - before))
    echo "$said" | awk -v load="$load" -v who="$who" -v used="$used" '
        / requests in / { requests = $1 }
        /^Requests\/sec:/ { rate = $2 }
        /Socket errors|Non-2xx/ { print "  " load ", " who ": " $0 }
        END {
            if (requests > 0) printf "SAMPLE %s %s %s %.2f\n", load, who, rate, used * 10000 / requests
            else print "FAIL " load ", " who ": no request got through: " $0
        }'
}

# Packets that backends have taken in for WHO: in tunnels, or as they were sent.
taken() {
    for number in $backends; do
        at "web$number" cat /proc/net/dev
    done | awk -v device="$([ "$1" = direct ] && echo replies: || echo tunl0:)" '
        $1 == device { sum += $3 } END { print sum + 0 }'
}

mac_of() { ip -n "$1" -brief link show dev "$2" | awk '{ print $3 }'; }

# packets LOAD WHO [OPTION...]: UDP as fast as one processor makes and delivers it, handed over as a card's driver does.
packets() {
    load=$1 who=$2
    shift 2
    case $who in
        direct) device=from-web1 mac=$(mac_of web1 replies) ;;
        *) device=to-$who mac=$(mac_of "$who" eth0) ;;
    esac
    before=$(taken "$who")
    # Behind the kernel's own thread for packets, which takes over now and then.
    took=$(at client nice -n 19 taskset 2 flood "$device" "$mac" "$(silent_address_of "$who")" 9 "$packets" "$@" 2>&1)
    arrived=$(($(taken "$who") - before))
    # What is lost on the way is no packet that was carried.
    awk -v load="$load" -v who="$who" -v took="$took" -v arrived="$arrived" -v sent="$packets" 'BEGIN {
        if (took > 0 && arrived > sent * 0.5) printf "SAMPLE %s %s %.0f %.2f\n", load, who, arrived * 1e6 / took, took / arrived
        else print "FAIL " load ", " who ": " arrived " of " sent " packets arrived in " took " us"
        if (arrived < sent) print "  " load ", " who ": " sent - arrived " of " sent " packets were lost"
    }'
}

measure() {
    for round in $(seq "$rounds"); do
        for who in direct ferrolev ipvs; do packets packets-of-known-flows "$who"; done
        for who in direct ferrolev ipvs; do packets packets-of-new-flows "$who" --source-ports 32768 --sources 65536; done
        for who in direct ferrolev ipvs; do requests new-connections "$who"; done
    done
}

network
start_ferrolev
start_ipvs || fail "ipvsadm" "$(at ipvs ipvsadm -Ln 2>&1)"
if reached direct && reached ferrolev && reached ipvs; then
    measure
fi
