# Read by guest.sh and bench.sh: verdicts, commands in namespaces, and waiting.

pass() { echo "PASS $1"; }
fail() { echo "FAIL $1: $2"; }

# at NAMESPACE COMMAND...: keeps this mount namespace, and with it the BPF file system, unlike `ip netns exec`.
at() { at_namespace=$1; shift; nsenter --net="/run/netns/$at_namespace" "$@"; }

# waits COMMAND...: until it succeeds, three minutes at most: an emulated machine takes its time to verify programs.
waits() {
    waits_left=900
    until "$@" > /dev/null 2>&1; do
        waits_left=$((waits_left - 1))
        [ "$waits_left" -gt 0 ] || return 1
        sleep 0.2
    done
}
