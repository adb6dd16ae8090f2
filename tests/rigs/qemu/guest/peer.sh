# Case peer: the same transfers on our controller and on QEMU's in the same guest, one after the other.
. /case/storage.sh

# sticks PCI: the disks behind the PCI function with that address, as /dev/sda,/dev/sdb,... in the order of their ports
sticks() {
    list=
    for path in /sys/bus/usb/devices/[0-9]*-*; do
        case $path in *:*) continue ;; esac
        case $(readlink -f "$path") in */"$1"/*) ;; *) continue ;; esac
        [ "$(cat "$path/idVendor")" = 46f4 ] || continue
        have_disk "${path##*/}" || return 1
        list=$list${list:+,}/dev/$disk
    done
    [ "$(echo "$list" | tr ',' '\n' | grep -c .)" -eq 4 ] && echo "$list"
}

there() { ours=$(sticks "$CASE_OURS") && peer=$(sticks "$CASE_PEER"); }

# Transfers of one measurement of a kind; those of LONG are many enough for a 99th percentile.
count() {
    case $1 in
        register) n=50 ;;
        8388608) n=8 ;;
        1048576) n=24 ;;
        *) n=100 ;;
    esac
    echo $((CASE_LONG ? n * 4 : n))
}

# A measurement is between two marks, "phase SIDE ..." with "phase go" and "phase idle", at which the host looks at its counters.
run() {
    await 60 there || { fail "not four sticks on each side: $CASE_OURS '$ours', $CASE_PEER '$peer'"; devices; return; }
    for device in $(echo "$ours,$peer" | tr ',' ' '); do
        # Commands as long as the driver lets them be: by default usb-storage cuts at 1 MiB.
        queue=/sys/block/${device#/dev/}
        echo 16384 >"$queue/device/max_sectors" && echo 8192 >"$queue/queue/max_sectors_kb" || fail "$device does not take long commands"
    done
    for round in $(seq "$((CASE_LONG ? 5 : 3))"); do
        while read -r kind size threads many; do
            for side in ours peer; do
                eval "devices=\$$side"
                transfers=$(count "$size")
                act=$kind
                if [ "$kind" = register ]; then
                    # The controller's operational registers as the driver's debug file shows them: each line is one read.
                    transfers=$(count register)
                    eval "devices=/sys/kernel/debug/usb/xhci/\$CASE_$(echo $side | tr a-z A-Z)/reg-op"
                    size=$(grep -c . "$devices")
                    act=text
                fi
                [ "$many" -ne 1 ] || devices=${devices%%,*}
                say "phase $side $round $kind $size $threads $many $transfers"
                sleep 0.3
                say "phase go"
                answer=$(timeout 120 bench "$devices" "$act" "$size" "$transfers" "$threads" 2>&1) || fail "bench $side $kind $size: $answer"
                say "phase idle"
                sleep 0.3
                say "bench $side $round $kind $size $threads $many $answer"
            done
        done </case/peer.list
    done
    [ "$CASE_ON" != ours ] || zero
}

# The two cases of usbtest that queue transfers: 32 at a time to gadget zero.
zero() {
    modprobe usbtest pattern=0 2>>/out/errors || { fail "modprobe usbtest"; return; }
    for path in /sys/bus/usb/devices/[0-9]*-*; do
        case $path in *:*) continue ;; esac
        [ "$(cat "$path/idProduct")" = a4a0 ] || continue
        node=$(printf '/dev/bus/usb/%03d/%03d' "$(cat "$path/busnum")" "$(cat "$path/devnum")")
        iterations=$((CASE_LONG ? 200 : 40))
        for number in 27 28; do
            say "phase ours 1 usbtest$number 16384 1 1 $((iterations * 32))"
            sleep 0.3
            say "phase go"
            answer=$(timeout 60 testusb -D "$node" -t $number -c $iterations -s 16384 -g 32 -v 256 2>&1)
            say "phase idle"
            sleep 0.3
            took=$(echo "$answer" | sed -n "s/.*test $number, *\([0-9.]*\) secs.*/\1/p" | head -n 1)
            [ -n "$took" ] || fail "usbtest $number: $answer"
            say "case usbtest$number $(rate $((iterations * 32 * 16384)) "$took")"
        done
    done
}
