# Case hvm-faults: reads while dom0 kills our process, then lets the driver start anew.
read_all() { # NUMBER
    await 60 usb 46f4:0001 || { fail "no stick after kill $1"; return 1; }
    await 60 disk_on "$place" || { fail "no disk after kill $1"; return 1; }
    echo 3 >/proc/sys/vm/drop_caches
    say "hash $1 $(dd if="/dev/$disk" bs=1M 2>/dev/null | sha256sum | cut -d' ' -f1)"
}
reader_ended() { ! kill -0 "$reader" 2>/dev/null; }

run() {
    read_all 0 || return
    function=$(basename "$(dirname "$(readlink -f /sys/bus/usb/devices/usb1)")")
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
