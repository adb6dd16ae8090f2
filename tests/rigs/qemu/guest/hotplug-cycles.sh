# Devices that come and go: the kernel's own messages tell when, transfers run until they are cut off.

# watch: each connect and disconnect as the kernel logs it; a gap in its numbers would mean that some were lost.
watch() {
    awk '
        { split($0, head, /[,;]/); if (last != "" && head[2] + 0 != last + 1) gaps++; last = head[2] + 0 }
        /;usb [0-9]+-[0-9]+: (New USB device found|USB disconnect)/ {
            split($0, part, /[ :;]/); path = part[3]; port = path; sub(/.*-/, "", port)
            if (/New USB device/) { up[port]++; print "RIG seen up " path; sub(/.*/, "", $0) }
            else { down[port]++; print "RIG seen down " path }
            fflush()
            if (port == 9) {
                for (port in up) print "RIG seen count " port " " up[port] + 0 " " down[port] + 0
                print "RIG seen gaps " gaps + 0
                fflush()
                exit
            }
        }' /dev/kmsg
    say cycles-done
}

at() { [ -e "/sys/bus/usb/devices/$1" ]; }
# gone NODE: waits until the device is; its successor has another number
gone() { while [ -e "$1" ] && [ ! -e /tmp/stop ]; do usleep 50000; done; }

# transfers PATH: usbtest on the gadget zero there, until it is pulled; again for the next one. Cases: bulk out and in, the
# same in scatter lists, and 32 requests queued at a time (27, 28).
transfers() {
    number=0
    while [ ! -e /tmp/stop ]; do
        # usbtest takes the configuration with source and sink, whose number is 3.
        if ! at "$1:3.0/driver"; then usleep 50000; continue; fi
        node=$(node_of "$1") 2>/dev/null || continue
        number=$((number % 6 + 1))
        case $number in 1) which=1 ;; 2) which=2 ;; 3) which=5 ;; 4) which=6 ;; 5) which=27 ;; 6) which=28 ;; esac
        testusb -D "$node" -t $which -c 1000000 -s 16384 -g 32 -v 0 >"/tmp/transfers-$1" 2>&1 &
        usleep 100000
        say "seen busy $1"
        wait $!
        echo "test $which: $(sed -n 's/.*--> //p' "/tmp/transfers-$1" | head -n 1)" >>/tmp/cut-usb
        cat "/tmp/transfers-$1" >>/out/transfers
        gone "$node"
    done
}

# reads PATH: direct reads of the disk there, four at a time, until it is pulled
reads() {
    while [ ! -e /tmp/stop ]; do
        if ! node=$(disk_of "$1") || [ "$(cat "/sys/block/$node/size" 2>/dev/null || echo 0)" -eq 0 ]; then usleep 50000; continue; fi
        usb=$(node_of "$1") || continue
        bench "/dev/$node" read 65536 500000 4 >/dev/null 2>/tmp/reads &
        usleep 100000
        say "seen busy $1"
        wait $!
        head -n 1 /tmp/reads >>/tmp/cut-disk
        gone "$usb"
    done
}

node_of() { printf '/dev/bus/usb/%03d/%03d' "$(cat "/sys/bus/usb/devices/$1/busnum")" "$(cat "/sys/bus/usb/devices/$1/devnum")"; }

# tally FILE RIGHT WHAT: every line counted; a line that does not match RIGHT is a failure
tally() {
    [ -s "$1" ] || { fail "$3: none were cut off"; return; }
    sed 's/.*: //' "$1" | sort | uniq -c | while read -r count error; do say "$3: $count ended with $error"; done
    wrong=$(grep -vcE "$2" "$1")
    [ "$wrong" -eq 0 ] || fail "$3: $wrong ended otherwise, as in: $(grep -vE "$2" "$1" | head -n 1)"
}

cycles() {
    modprobe usbtest alt=3 pattern=1 2>>/out/errors || fail "modprobe usbtest"
    reader "$disk" &
    readers=$!
    transfers 2-5 &
    readers="$readers $!"
    transfers 1-6 &
    readers="$readers $!"
    reads 2-7 &
    readers="$readers $!"
    before=$(memory)
    say "await-plug"
    watch
    touch /tmp/stop
    wait $readers
    [ ! -e /tmp/bad ] || fail "the reader of the stick that stayed saw an error: $(tail -n 1 /out/reader)"
    say "ok the stick that stayed was read $(wc -l </tmp/rounds) times (4 MiB each) meanwhile"
    # What a driver sees of a request that was on its way (EPROTO: the controller's transaction error; ESHUTDOWN, ENODEV: the
    # root hub was faster), and what the block layer makes of it.
    tally /tmp/cut-usb ': (71|108|19) \(' "transfers of usbtest cut off"
    tally /tmp/cut-disk 'transfer: (Input/output error|No such device)' "reads of a disk cut off"
    say "memory of the guest before: $before after: $(memory)"
    rmmod usbtest || fail "rmmod usbtest"
}
