#!/bin/bash
# Boots systemd as process 1 of namespaces of its own, over a copy of this machine that is thrown away.
#   unshare --fork --pid --kill-child --mount --ipc --uts --net --cgroup bash systemd_machine.sh FOLDER PYTHON SRC SITE
# PYTHON (an installation), SRC and SITE (folders of packages) appear below /opt, where every account can read them.
set -eu
folder=$1 python=$2 src=$3 site=$4
mount --make-rprivate /
mount -t tmpfs -o size=512m tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"

mkdir -p "$root/opt/python" "$root/opt/src" "$root/opt/site"
mount --bind "$python" "$root/opt/python"
mount --bind "$src" "$root/opt/src"
mount --bind "$site" "$root/opt/site"

mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
    mkdir "$root/sys/fs/cgroup/unified" "$root/sys/fs/cgroup/systemd"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
fi
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
rm -rf "$root/etc/systemd/system" "$root/var/log/journal"
mkdir -p "$root/etc/systemd/system"
for unit in systemd-{sysctl,modules-load,binfmt,remount-fs,udevd,random-seed,timesyncd,networkd,update-utmp}.service \
    proc-sys-fs-binfmt_misc.automount podman.socket sys-kernel-{debug,tracing,config}.mount \
    dev-{hugepages,mqueue}.mount sys-fs-fuse-connections.mount; do
    ln -s /dev/null "$root/etc/systemd/system/$unit"
done

cd "$root"
mkdir -p outside
pivot_root . outside
umount -l /outside
exec env -i container=hivemind-test PATH=/usr/sbin:/usr/bin \
    /lib/systemd/systemd --system --unit=basic.target --show-status=no --log-target=journal
