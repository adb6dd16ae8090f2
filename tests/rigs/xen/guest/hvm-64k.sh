# Case hvm-64k: Linux's usbtest on gadget zero, direct transfers on the stick. A step is told to dom0 before and after.
zero_there() { usb 0525:a4a0; }
stick_there() { usb 46f4:0001 && disk_on "$place"; }

# zero_step NAME TEST BYTES COUNT PIECES OTHER: testusb's case with COUNT URBs of BYTES, from PIECES pieces of memory. OTHER: usbtest's
# single URBs out ask for a zero-length packet at their end (URB_ZERO_PACKET), which is a transfer of its own.
zero_step() {
    step "$1 1 $3 $4 $6"
    answer=$(timeout 60 testusb -D "$node" -t "$2" -c "$4" -s $(($3 / $5)) -g "$5" -v 0 2>&1)
    case $answer in *"test $2,"*) ;; *) fail "$1: usbtest $2: $answer" ;; esac
    step "done"
}

# stick_step NAME read|write BYTES COUNT OTHER: OTHER is what usb-storage sends around it
stick_step() {
    step "$1 2 $3 $4 $5"
    answer=$(timeout 120 bench "/dev/$disk" "$2" "$3" "$4" 1 2>&1) || fail "$1: $answer"
    step "done"
}

run() {
    open_line || { fail "no line to dom0"; return; }
    await 60 stick_there || { fail "no stick"; return; }
    await 60 zero_there || { fail "no gadget zero"; return; }
    node=$(printf '/dev/bus/usb/%03d/%03d' "$(cat "/sys/bus/usb/devices/$place/busnum")" "$(cat "/sys/bus/usb/devices/$place/devnum")")
    modprobe usbtest pattern=1 || { fail "no usbtest"; return; }
    zero_step "out" 1 65536 8 1 8
    zero_step "in" 2 65536 8 1 0
    # usbtest's 17 to 20 begin one byte after a border of memory.
    zero_step "out-odd-address" 17 65536 8 1 8
    zero_step "in-odd-address" 18 65536 8 1 0
    zero_step "out-in-16-pieces" 5 65536 8 16 0
    zero_step "in-in-16-pieces" 6 65536 8 16 0
    zero_step "out" 1 1048576 2 1 2
    zero_step "in" 2 1048576 2 1 0
    zero_step "out-odd-address" 17 1048576 2 1 2
    zero_step "in-odd-address" 18 1048576 2 1 0
    # A read is command, data, status; writes end with a flush of the cache, which is command and status.
    stick_step "stick-read" read 65536 8 16
    stick_step "stick-write" write 65536 8 18
    stick_step "stick-read" read 1048576 4 8
    stick_step "stick-write" write 1048576 4 10
    step end
}
