# Devices that come and go: the kernel's own messages tell when, transfers run until they are cut off.

# watch: each connect and disconnect as the kernel logs it; a gap in its numbers would mean that some were lost. Linux 7.2
# announces a device before it reads the configurations; one that is pulled between the two is not logged as disconnected but
# as unreadable. Linux 6.12 reads them first, and what it has not announced does not count here.
watch() {
    awk '
        # The lines below a message that begin with a space belong to it and have no number.
        /^ / { next }
        { split($0, head, /[,;]/); if (last != "" && head[2] + 0 != last + 1) gaps++; last = head[2] + 0 }
        /;usbtest [0-9]+-[0-9]+:[0-9.]+: TEST / { split($0, part, /[ :;]/); print "RIG seen busy " part[3]; fflush() }
        /;usb [0-9]+-[0-9]+: (New USB device found|USB disconnect|can.t read configurations)/ {
            split($0, part, /[ :;]/); path = part[3]; port = path; sub(/.*-/, "", port)
            if (/New USB device/) { up[port]++; print "RIG seen up " path; sub(/.*/, "", $0) }
            else if (/USB disconnect/ || up[port] > down[port]) { down[port]++; print "RIG seen down " path }
            fflush()
            if (port == 9) {
                for (port in up) print "RIG seen count " port " " up[port] + 0 " " down[port] + 0
                print gaps + 0 >"/tmp/gaps"
                print down[5] + down[6] >"/tmp/pulls-usb"
                print down[7] + 0 >"/tmp/pulls-disk"
                fflush()
                exit
            }
        }' /dev/kmsg
    say cycles-done
}

at() { [ -e "/sys/bus/usb/devices/$1" ]; }
# gone NODE: waits until the device is; its successor has another number
gone() { while [ -e "$1" ] && [ ! -e /tmp/stop ]; do usleep 50000; done; }

# transfers PATH: usbtest on the gadget zero there, until it is pulled; again for the next one. Cases: bulk out and in (1, 2),
# the same in scatter lists of 32, all queued (5, 6), of varying length (7, 8); what has to wait for its interval in our
# process: interrupt out and in (25, 26), 32 isochronous transfers queued (15, 16). The driver logs the beginning of a case,
# and watch tells.
transfers() {
    number=0
    while [ ! -e /tmp/stop ]; do
        # usbtest takes the configuration with source and sink, whose number is 3.
        if ! at "$1:3.0/driver"; then usleep 50000; continue; fi
        node=$(node_of "$1") 2>/dev/null || continue
        case $number in 0) which=26 ;; 1) which=1 ;; 2) which=16 ;; 3) which=2 ;; 4) which=5 ;; 5) which=25 ;; 6) which=6 ;; 7) which=15 ;; 8) which=7 ;; 9) which=8 ;; esac
        testusb -D "$node" -t $which -c 1000000 -s 16384 -g 32 -v 512 >"/tmp/transfers-$1" 2>&1
        cat "/tmp/transfers-$1" >>/out/transfers
        error=$(sed -n 's/.*--> //p' "/tmp/transfers-$1" | head -n 1)
        [ -n "$error" ] || ! grep -q ' secs$' "/tmp/transfers-$1" || error="$finished"
        # Without a result it did not get as far as a transfer.
        [ -n "$error" ] || continue
        case $which in 15 | 16) error="isochronous $error" ;; esac
        echo "$error" >>/tmp/cut-usb
        number=$(((number + 1) % 10))
        gone "$node"
    done
}

# reads PATH: direct reads of the disk there, four at a time, until it is pulled
reads() {
    while [ ! -e /tmp/stop ]; do
        if ! node=$(disk_of "$1") || [ "$(cat "/sys/block/$node/size" 2>/dev/null || echo 0)" -eq 0 ]; then usleep 50000; continue; fi
        usb=$(node_of "$1") 2>/dev/null || continue
        first=$(completed "$node")
        bench "/dev/$node" read 65536 500000 4 >/dev/null 2>/tmp/reads &
        while kill -0 $! 2>/dev/null && [ "$(completed "$node")" -lt $((first + 20)) ]; do usleep 20000; done
        say "seen busy $1"
        wait $!
        # Success: the read gave fewer bytes than asked for, those before the cut, and the next would give the error.
        error=$(sed -n 's/^transfer: //p' /tmp/reads | sed 's/^Success$/a short count/' | head -n 1)
        [ -n "$error" ] || [ -s /tmp/reads ] || error="$finished"
        echo "${error:-$(head -n 1 /tmp/reads)}" >>/tmp/cut-disk
        gone "$usb"
    done
}

# completed DISK: reads that it has done
completed() { awk '{ print $1; found = 1 } END { if (!found) print 0 }' "/sys/block/$1/stat" 2>/dev/null || echo 0; }

node_of() { printf '/dev/bus/usb/%03d/%03d' "$(cat "/sys/bus/usb/devices/$1/busnum")" "$(cat "/sys/bus/usb/devices/$1/devnum")"; }

finished="all done before the pull"

# tally NAME RIGHT WHAT: one line of /tmp/cut-NAME for each pull of a busy port; one that does not match RIGHT is a failure
tally() {
    touch "/tmp/cut-$1"
    sort "/tmp/cut-$1" | uniq -c | while read -r count error; do say "$3: $count ended with: $error"; done
    pulls=$(cat "/tmp/pulls-$1")
    done_before=$(grep -cF "$finished" "/tmp/cut-$1")
    right=$(grep -cE "$2" "/tmp/cut-$1")
    wrong=$(grep -vF "$finished" "/tmp/cut-$1" | grep -vcE "$2")
    say "$3: $pulls pulls, $right cut off with the right error, $done_before had ended before, $wrong otherwise"
    [ "$right" -gt 0 ] || fail "$3: none were cut off"
    [ "$wrong" -eq 0 ] || fail "$3: $wrong ended otherwise, as in: $(grep -vF "$finished" "/tmp/cut-$1" | grep -vE "$2" | head -n 1)"
    [ $((right + done_before + wrong)) -eq "$pulls" ] || fail "$3: $pulls pulls but $((right + done_before + wrong)) ends"
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
    [ "$(cat /tmp/gaps)" -eq 0 ] || fail "$(cat /tmp/gaps) gaps in the kernel's messages; raise log_buf_len"
    [ ! -e /tmp/bad ] || fail "the reader of the stick that stayed saw an error: $(tail -n 1 /out/reader)"
    say "ok the stick that stayed was read $(wc -l </tmp/rounds) times (4 MiB each) meanwhile"
    # What a driver sees of a request that was on its way (EPROTO: the controller's transaction error; ESHUTDOWN, ENODEV: the
    # root hub was faster), and what the block layer makes of it. usbtest sums isochronous ones up: EACCES when one could not
    # be submitted again, EIO when more than a tenth failed.
    tally usb '^((71|108|19)|isochronous (13|5)) \(' "transfers of usbtest"
    tally disk '^(Input/output error|No such device|a short count)$' "reads of a disk"
    say "memory of the guest before: $before after: $(memory)"
    rmmod usbtest || fail "rmmod usbtest"
    again "after the cycles"
}
