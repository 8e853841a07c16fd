# Becomes a systemd with a file system of its own, in which nothing runs but the balancer's service as it is packaged.
# Called in a mount namespace of its own, with: root (an empty directory), cgroup (to be made), ferrolev (the binary),
# unit (the packaged file), config (the balancer's).
set -eu
root=$1 cgroup=$2 ferrolev=$3 unit=$4 config=$5

mkdir "$cgroup"
echo $$ > "$cgroup/cgroup.procs"

mount -t tmpfs tmpfs "$root"
cd "$root"
mkdir -p over usr etc/ferrolev etc/systemd/system proc sys dev run tmp var/lib var/log var/tmp root old
# The machine's programs, with the balancer among them and without the machine's units.
mkdir over/upper over/work
mount -t overlay overlay -o "lowerdir=/usr,upperdir=$root/over/upper,workdir=$root/over/work" usr
for name in bin sbin lib lib64; do
    if [ -L "/$name" ]; then ln -s "usr/$name" "$name"; else mkdir "$name" && mount --rbind "/$name" "$name"; fi
done
cp "$ferrolev" usr/bin/ferrolev
mount -t tmpfs tmpfs usr/lib/systemd/system
for name in basic sysinit shutdown network; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$name" > "usr/lib/systemd/system/$name.target"
done
cp /etc/passwd /etc/group etc/
echo 0123456789abcdef0123456789abcdef > etc/machine-id
cp "$unit" usr/lib/systemd/system/ferrolev.service
# For the test to read: there is no journal.
mkdir etc/systemd/system/ferrolev.service.d
printf '[Service]\nStandardError=append:/var/log/ferrolev\n' > etc/systemd/system/ferrolev.service.d/log.conf
cp "$config" etc/ferrolev/ferrolev.toml

mount -t tmpfs tmpfs run
mount --rbind /dev dev
exec unshare --pid --fork --kill-child --uts --ipc --cgroup sh -c '
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount -t bpf bpf sys/fs/bpf
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    pivot_root . old
    umount -l /old
    export container=lxc
    exec /usr/lib/systemd/systemd --system --unit=basic.target --log-target=console --log-level=notice
'
