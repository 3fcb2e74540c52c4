#!/bin/sh
# What udhcpc calls with what it was given.
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
if [ -n "$router" ]; then ip route add default via "$router"; fi
