#!/bin/busybox sh
# The first process of a test's guest: loads the network drivers, then runs what comes in on the first serial port, line
# by line. After each line's output stands a line with the mark and the status. The kernel talks on the second port.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done </modules/order
ip link set lo up
ip link set eth0 up
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -F /dev/ttyS0 raw -echo
echo "@@ 0"
while read -r line; do
    eval "$line" </dev/null
    echo "@@ $?"
done
poweroff -f
