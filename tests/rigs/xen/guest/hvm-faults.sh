# Case hvm-faults: reads while dom0 kills our process, then lets the driver start anew; hammers registers; reads while it has less memory.
hash_now() {
    echo 3 >/proc/sys/vm/drop_caches
    dd if="/dev/$disk" bs=1M count=7 2>/dev/null | sha256sum | cut -d' ' -f1
}
read_all() { # WHICH
    await 60 usb 46f4:0001 || { fail "no stick, $1"; return 1; }
    await 60 disk_on "$place" || { fail "no disk, $1"; return 1; }
    [ "$(hash_now)" = "$HASH" ] || { fail "hash, $1"; return 1; }
    say "read $1"
}
reader_ended() { ! kill -0 "$reader" 2>/dev/null; }

run() {
    await 60 usb 46f4:0001 && await 60 disk_on "$place" || { fail "no disk"; return; }
    if [ "$(dd if="/dev/$disk" bs=512 skip=$((sectors - 1)) 2>/dev/null | head -c 5)" = again ]; then
        read_all again
        sleep 1000
    fi
    read_all 0 || return
    function=$(basename "$(dirname "$(readlink -f /sys/bus/usb/devices/usb1)")")
    for part in $PARTS; do
        case $part in kills | hammer | balloon) $part || return ;; esac
    done
    case $PARTS in *reboot*) ;; *) return ;; esac
    printf again | dd of="/dev/$disk" bs=512 seek=$((sectors - 1)) conv=sync,fsync 2>/dev/null || fail "the mark"
    say rebooting
    busybox reboot -f
}

kills() {
    number=0
    while [ $number -lt "$KILLS" ]; do
        number=$((number + 1))
        (while dd if="/dev/$disk" of=/dev/null bs=64k 2>/dev/null; do echo 1 >/proc/sys/vm/drop_caches; done) &
        reader=$!
        say "reading $number"
        sleep 6
        say "beat $number"
        begin=$(now)
        echo "$function" >/sys/bus/pci/drivers/xhci_hcd/unbind
        await 90 reader_ended || fail "the reader hangs"
        echo "$function" >/sys/bus/pci/drivers/xhci_hcd/bind
        say "driver of $function anew in $(since "$begin") s"
        read_all $number || return
    done
}

# Each processor reads registers and the configuration space again and again while the disk is read. What a capability
# register says never changes: an answer that went to the wrong processor shows.
hammer() {
    mount -t debugfs debugfs /sys/kernel/debug
    folder=/sys/kernel/debug/usb/xhci/$function
    sort "$folder/reg-cap" >/tmp/expected
    [ -s /tmp/expected ] || { fail "no registers in $folder"; return; }
    say hammering
    for cpu in $(seq 0 $((VCPUS - 1))); do
        taskset $((1 << cpu)) sh -c '
            for round in 1 2 3 4 5 6 7 8 9 10; do
                cat "$1/reg-op" "$1/reg-op" >/dev/null
                cat "/sys/bus/pci/devices/$2/config" >/dev/null
                cat "$1/reg-cap" "$1/reg-cap" "$1/reg-cap"
            done | sort -u >/tmp/seen-'$cpu - "$folder" "$function" &
    done
    hashed=$(hash_now)
    wait
    for cpu in $(seq 0 $((VCPUS - 1))); do
        sort -u /tmp/expected | cmp -s - "/tmp/seen-$cpu" || fail "processor $cpu read other capabilities"
    done
    [ "$hashed" = "$HASH" ] || fail "hash while registers are hammered"
    say hammered
}

memory() { awk '/^MemTotal/ { print $2 }' /proc/meminfo; }
# Until dom0 has twice taken memory and given it back. The disk is read all the time, past the cache.
await_memory() { # least|most KIB WORD
    until { [ "$1" = most ] && [ "$(memory)" -lt "$2" ]; } || { [ "$1" = least ] && [ "$(memory)" -gt "$2" ]; }; do sleep 0.5; done
    say "$3"
}
balloon() {
    full=$(memory)
    rm -f /tmp/passes /tmp/stop
    (
        while [ ! -e /tmp/stop ]; do
            if [ "$(hash_now)" = "$HASH" ]; then echo right; else echo wrong; fi >>/tmp/passes
        done
    ) &
    reader=$!
    say ballooning
    for round in 1 2; do
        await_memory most $((full - 50000)) "low $round"
        await_memory least $((full - 15000)) "high $round"
    done
    touch /tmp/stop
    await 90 reader_ended || fail "the reader hangs"
    ! grep -q wrong /tmp/passes || fail "hash while the balloon moves"
    say "balloon: $(grep -c right /tmp/passes) passes with the right hash"
}
