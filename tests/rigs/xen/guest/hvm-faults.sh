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
    kills && hammer && balloon
    printf again | dd of="/dev/$disk" bs=512 seek=$((sectors - 1)) conv=sync,fsync 2>/dev/null || fail "the mark"
    say rebooting
    reboot -f
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
# Until dom0 has twice taken memory and given it back.
balloon() {
    full=$(memory)
    low=0
    high=0
    passes=0
    say ballooning
    while [ $high -lt 2 ]; do
        [ "$(hash_now)" = "$HASH" ] || { fail "hash while the balloon moves"; return; }
        passes=$((passes + 1))
        has=$(memory)
        if [ $low -eq $high ] && [ "$has" -lt $((full - 100000)) ]; then
            low=$((low + 1))
            say "low $low"
        elif [ $low -gt $high ] && [ "$has" -gt $((full - 20000)) ]; then
            high=$((high + 1))
            say "high $high"
        fi
    done
    say "balloon: $passes passes with the right hash"
}
