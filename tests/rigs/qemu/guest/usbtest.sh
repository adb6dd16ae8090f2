# Case usbtest: Linux's usbtest.ko with testusb on gadget zero at every speed.

all_there() { [ "$(devices | wc -l)" -ge "$(wc -l </case/expect)" ]; }

# one LABEL NODE SPEED CASE COUNT LENGTH SGLEN VARY
one() {
    dmesg -c >>/out/dmesg-before 2>/dev/null
    begin=$(now)
    answer=$(timeout 60 testusb -D "$2" -t "$4" -c "$5" -s "$6" -g "$7" -v "$8" 2>&1)
    status=$?
    took=$(since "$begin")
    { echo "=== $1 case $4 -c $5 -s $6 -g $7 -v $8: status $status, $took s: $answer"; dmesg | tail -n 30; } >>/out/usbtest
    # testusb is silent about a case that the driver does not offer (EOPNOTSUPP).
    case $answer in
        *"test $4,"*) result=pass; took=$(echo "$answer" | sed -n 's/.*test [0-9]*, *\([0-9.]*\) secs.*/\1/p' | head -n 1) ;;
        *'-->'*) result="fail:$(echo "$answer" | sed -n 's/.*--> \([0-9]*\) (\(.*\)).*/\1:\2/p' | head -n 1 | tr ' ' '_')" ;;
        *) if [ $status -eq 143 ] || [ $status -eq 124 ]; then result=fail:timeout; else result=absent; fi ;;
    esac
    bytes=$(($5 * $6 * $7))
    case $4 in
        27 | 28) extra=$(rate "$bytes" "$took")MB/s ;;
        *) extra=- ;;
    esac
    say "case $1 $3 $4 $result $took $5/$6/$7/$8 $extra"
    case $result in fail*) failures=$((failures + 1)) ;; esac
}

node_of() { printf '/dev/bus/usb/%03d/%03d' "$(cat "/sys/bus/usb/devices/$1/busnum")" "$(cat "/sys/bus/usb/devices/$1/devnum")"; }

run() {
    await 60 all_there || fail "only $(devices | wc -l) devices"
    # The pattern is checked by every case but the two that measure speed. Low speed has no setting 3: with alt=3 the driver
    # could not even select it, without it the driver runs the cases that need endpoint 0 alone.
    for load in "1 5000 480 12" "0 5000 480 12" "1 1.5" "0 1.5"; do
        pattern=${load%% *}
        speeds=${load#* }
        case $speeds in 1.5) alternate= ;; *) alternate=alt=3 ;; esac
        modprobe usbtest $alternate pattern=$pattern 2>>/out/errors || { fail "modprobe usbtest"; return; }
        sleep 1
        for wanted in $speeds; do
            while read -r port speed id kind rest; do
                [ "$speed" = "$wanted" ] || continue
                name=$(devices | awk -v port="$port" -v speed="$speed" '$2 == port && $3 == speed { print $1 }')
                [ -n "$name" ] || { fail "no device at port $port with $speed Mbit/s"; continue; }
                all "$(node_of "$name")" "$speed" $pattern
            done </case/expect
        done
        rmmod usbtest || fail "rmmod usbtest"
    done
}

# all NODE SPEED PATTERN
all() {
    if [ $3 -eq 0 ]; then
        for number in 27 28; do one a "$1" "$2" $number "${CASE_PERF:-20}" 16384 32 256; done
        return
    fi
    for number in ${CASE_LIST:-0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 29}; do
        # 14 and 21 want vary below length; 9 and 10 are long by themselves; isochronous cases take real time.
        case $number in
            0) one a "$1" "$2" 0 100 512 32 256 ;;
            9 | 10) one a "$1" "$2" $number 20 512 32 256 ;;
            14 | 21) one a "$1" "$2" $number 50 512 32 256 ;;
            15 | 16 | 22 | 23)
                one a "$1" "$2" $number 10 512 32 256
                [ -z "$CASE_LONG" ] || one b "$1" "$2" $number 10 8192 8 512
                ;;
            *)
                one a "$1" "$2" $number 50 512 32 256
                [ -z "$CASE_LONG" ] || one b "$1" "$2" $number 10 16384 32 1536
                ;;
        esac
    done
}
