# Case libusb: this Linux is the host; its devices are QEMU's, and our process takes them.
command="/dm/ld-linux-x86-64.so.2 --library-path /dm /dm/xen-usb-dm"
dm() { $command "$@"; }
# place SERIAL: bus path of a stick
place() { for file in /sys/bus/usb/devices/*/serial; do [ "$(cat "$file" 2>/dev/null)" != "$1" ] || basename "$(dirname "$file")"; done; }
# disk_of PLACE: its block device, empty without usb-storage
disk_of() { for file in /sys/bus/usb/devices/"$1":1.0/host*/target*/*/block/*; do [ ! -e "$file" ] || basename "$file"; done; }
have_driver() { [ -n "$(disk_of "$1")" ]; }
has_no_driver() { [ -z "$(disk_of "$1")" ]; }
whole() { sha256sum "/dev/$(disk_of "$1")" | cut -d' ' -f1; }
check() { # WORDS COMMAND...
    words=$1
    shift
    if "$@"; then say "$words: yes"; else fail "$words"; fi
}
seen() { grep -q "$1" "$2"; }

demo() { # PLACE HASH TRANSFERS
    if dm demo --device "host:$1" >/out/demo 2>&1; then
        check "guest read $1 whole, same hash as the image" seen "SHA-256 $2" /out/demo
        check "$3 transfers of exactly 65536 bytes, none larger" seen "^transfers-of-64-kib $3\$" /out/demo
        say "$(grep '^read' /out/demo | cut -c1-110)"
        say "$(grep 'device-memory' /out/demo)"
    else
        fail "demo on $1: $(tail -n 1 /out/demo)"
    fi
    check "usb-storage has $1 back" await 10 have_driver "$1"
    check "the host reads $1 again" [ "$(whole "$1")" = "$2" ]
}

run() {
    await 30 place_known || { fail "no stick"; return; }
    stick=$(place RIG1)
    high=$(place RIG3)
    await 30 have_driver "$stick" || fail "no disk on $stick"
    await 30 have_driver "$high" || fail "no disk on $high"
    say "sticks at $stick and $high"
    dm list >/out/list 2>&1
    while read -r line; do say "list $line"; done </out/list
    check "list has bus path, ID, manufacturer and product" seen "^$stick: ID 46f4:0001 QEMU QEMU USB HARDDRIVE\$" /out/list
    check "list leaves hubs out" [ "$(grep -ci hub /out/list)" -eq 0 ]
    hub=${high%.*}
    dm demo --device "host:$hub" >/out/hub 2>&1
    check "a hub is refused by name" seen "$hub is a hub" /out/hub

    demo "$stick" "$CASE_HASH" 128
    demo "$high" "$CASE_HIGH" 32

    # Killed with the device in its hands.
    # Not through the function: its process would be a shell's.
    $command demo --device "host:$stick" >/out/killed 2>&1 &
    process=$!
    check "taken from usb-storage" await 10 has_no_driver "$stick"
    dm demo --device "host:$stick" >/out/second 2>&1
    check "a second process is told who has it" seen "$stick is in use by pid [0-9]*, demo" /out/second
    dm list >/out/list 2>&1
    check "list says who has it" seen "^$stick: .* (in use by pid [0-9]*, demo)" /out/list
    kill -9 $process
    wait $process 2>/dev/null
    check "after SIGKILL no driver has it" has_no_driver "$stick"
    dm list >/out/list 2>&1
    check "the next process gives it back" seen "$stick given back" /out/list
    check "usb-storage has it" await 10 have_driver "$stick"
    check "the host reads it" [ "$(whole "$stick")" = "$CASE_HASH" ]

    # A rule that waits, a plug, a pull; and pulling what is being read.
    late=${stick%%-*}-2
    (cd /tmp && exec $command run --vfio-user v.sock --control c.sock \
        --attach "1=host:$stick" --attach "2=host:$late") >/out/run 2>/out/run.log &
    process=$!
    check "run is ready" await 20 seen ready /out/run
    dm ctl /tmp/c.sock events >/out/events 2>&1 &
    dm ctl /tmp/c.sock list >/out/ctl 2>&1
    check "the stick is on port 1" seen "^1.1 .*host $stick 46f4:0001" /out/ctl
    check "the rule of port 2 waits" seen "^1.2 .*(host:$late waits)" /out/ctl
    say plug-late
    check "plugged in: attached" await 10 listed "^1.2 .*host $late 46f4:0001"
    say unplug-late
    check "pulled: waits again" await 10 listed "^1.2 .*(host:$late waits)"
    check "events tell both" await 5 both
    dm ctl /tmp/c.sock detach 1 >/out/ctl 2>&1
    check "detached: usb-storage has it" await 10 have_driver "$stick"

    # Two rules for one device: the one that comes second waits, and takes it when the other gives it back.
    (cd /tmp && exec $command run --vfio-user w.sock --control d.sock --attach "1=host:$late") >/out/other 2>/out/other.log &
    other=$!
    check "a second run is ready" await 20 seen ready /out/other
    say plug-again
    check "one of two rules has it, the other says who and waits" await 10 one_waits
    if listed "^1.2 .*refused"; then
        dm ctl /tmp/d.sock detach 1 >/out/ctl 2>&1
        check "given back by the second, taken by the first" await 10 listed "^1.2 .*host $late 46f4:0001"
    else
        dm ctl /tmp/c.sock detach 2 >/out/ctl 2>&1
        check "given back by the first, taken by the second" await 10 listed_other "^1.1 .*host $late 46f4:0001"
    fi

    # A program that knows nothing of our locks: ours, with a /run of its own.
    busybox unshare -m sh -c "mount -t tmpfs none /run/xen-usb-dm && exec $command demo --device host:$stick" >/out/foreign 2>&1 &
    foreign=$!
    await 10 has_no_driver "$stick"
    sleep 1
    dm ctl /tmp/c.sock attach "1=host:$stick" >/out/ctl 2>&1
    check "claimed by another program: it is named, the rule waits" await 5 listed "^1.1 .*refused: $stick: .*(Busy); pid [0-9]* (.*) has it; the rule waits"
    wait $foreign
    status=$?
    check "the other program was not disturbed" [ $status -eq 0 ]
    check "and read the right data" seen "SHA-256 $CASE_HASH" /out/foreign
    check "then the rule takes it" await 10 listed "^1.1 .*host $stick 46f4:0001"
    kill $process
    wait $process
    status=$?
    check "run ends with 0" [ $status -eq 0 ]
    kill $other
    wait $other
    status=$?
    check "the second run ends with 0" [ $status -eq 0 ]
    check "usb-storage has both" await 10 have_drivers
    cp /tmp/ctl.list /out/ 2>/dev/null

    $command demo --device "host:$stick" >/out/pulled 2>&1 &
    process=$!
    await 10 has_no_driver "$stick"
    sleep 1
    say unplug-stick
    wait $process
    status=$?
    check "pulled while it is read: ends with 1" [ $status -eq 1 ]
    check "and says so: $(tail -n 1 /out/pulled)" seen "was unplugged" /out/pulled
    say "$(grep -c . /proc/self/mounts) mounts, $(dmesg | grep -c 'BUG\|Oops\|WARNING') kernel complaints"
}

place_known() { [ -n "$(place RIG1)" ] && [ -n "$(place RIG3)" ]; }
listed() { dm ctl /tmp/c.sock list >/tmp/ctl.list 2>&1; grep -q "$1" /tmp/ctl.list; }
listed_other() { dm ctl /tmp/d.sock list >/tmp/other.list 2>&1; grep -q "$1" /tmp/other.list; }
one_waits() { listed "^1.2 .*refused: $late is in use by pid [0-9]*, .*; the rule waits" || listed_other "^1.1 .*refused: $late is in use by pid [0-9]*, .*; the rule waits"; }
have_drivers() { have_driver "$stick" && have_driver "$late"; }
both() { grep -q "DEVICE_ATTACHED.*1.2" /out/events && grep -q "DEVICE_DETACHED.*1.2" /out/events; }
