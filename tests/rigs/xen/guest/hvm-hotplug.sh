# Case hvm-hotplug: whenever the stick is there, its first MiB is compared and then read until it is gone.
no_stick() { ! usb 46f4:0001; }

run() {
    number=0
    cut=0
    while :; do
        await 90 usb 46f4:0001 || { fail "no stick, $number"; return; }
        await 60 disk_on "$place" || { fail "no disk, $number"; return; }
        [ "$(dd if="/dev/$disk" bs=1M count=1 2>/dev/null | sha256sum | cut -d' ' -f1)" = "$HASH" ] || { fail "hash, $number"; return; }
        say "disk $number"
        [ $number -lt "$CYCLES" ] || break
        number=$((number + 1))
        while dd if="/dev/$disk" of=/dev/null bs=64k 2>/dev/null; do echo 1 >/proc/sys/vm/drop_caches; done
        # The reader ended with an error, before the driver was done with it.
        [ ! -e "/sys/bus/usb/devices/$place" ] || cut=$((cut + 1))
        await 60 no_stick || { fail "the stick is still there, $number"; return; }
        say "gone $number"
    done
    say "$number times gone, read error before the device's end $cut times"
}
