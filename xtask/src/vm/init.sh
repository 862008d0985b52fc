#!/bin/sh
# The first and only process of the virtual machine. What it prints last, the host waits for.
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in /modules/*.ko; do
    /bin/insmod "$module"
done
read -r _ _ release _ </proc/version
echo "ntpguard-vm: Linux $release"
result=passed
/bin/fixtures || result=failed
NTPGUARD_BIN=/bin/ntpguard /bin/attachments || result=failed
echo "ntpguard-vm: $result"
# The host switches the machine off. An init that ended would have the kernel panic.
while :; do read -r _; done
