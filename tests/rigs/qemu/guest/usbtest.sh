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
    # Setting 3 has all kinds of endpoints. It is the driver's for all gadgets that it knows by that name.
    modprobe usbtest alt=3 2>>/out/errors || { fail "modprobe usbtest"; return; }
    while read -r port speed id kind rest; do
        name=$(devices | awk -v port="$port" -v speed="$speed" '$2 == port && $3 == speed { print $1 }')
        [ -n "$name" ] || { fail "no device at port $port with $speed Mbit/s"; continue; }
        [ "$speed" != 1.5 ] || endpoints_by_id "$name" || { fail "low-speed device not bound again"; continue; }
        all "$(node_of "$name")" "$speed"
    done </case/expect
    dmesg >>/out/dmesg-before
    grep -oE 'usbtest [0-9.:-]*: (low|full|high|super)-speed .*' /out/dmesg-before | sort -u | while read -r line; do say "driver ${line#* }"; done
    rmmod usbtest || fail "rmmod usbtest"
}

# At low speed the driver looks at no descriptor: it takes the endpoint numbers that its table has for the device's id. The entry
# of gadget zero has none; fff0:fff0 has endpoints 2 in and out of setting 1, and vendor requests. So our gadget is bound as that.
# Linux 7.2 has no new_id for this driver: there the gadget stays what it is, with setting 0, and endpoint 0 is all.
endpoints_by_id() {
    if [ ! -w /sys/bus/usb/drivers/usbtest/new_id ]; then
        say "low speed: no new_id in this kernel, endpoint 0 only"
        rmmod usbtest && modprobe usbtest 2>>/out/errors
        return
    fi
    say "low speed: bound as fff0:fff0, interrupt endpoints"
    interface=$1:$(cat "/sys/bus/usb/devices/$1/bConfigurationValue").0
    interface=$(echo "$interface" | tr -d ' ')
    echo "0525 a4a0 0 fff0 fff0" >/sys/bus/usb/drivers/usbtest/new_id
    echo "$interface" >/sys/bus/usb/drivers/usbtest/unbind
    echo "$interface" >/sys/bus/usb/drivers/usbtest/bind
}

# all NODE SPEED
all() {
    for number in ${CASE_LIST:-0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29}; do
        # The two that measure speed want zeros; every other case checks the pattern.
        case $number in 27 | 28) pattern=0 ;; *) pattern=1 ;; esac
        echo $pattern >/sys/module/usbtest/parameters/pattern
        # 14 and 21 want vary below length; 9 and 10 are long by themselves; isochronous cases take real time.
        case $number in
            0) one a "$1" "$2" 0 100 512 32 256 ;;
            9 | 10) one a "$1" "$2" $number 20 512 32 256 ;;
            14 | 21) one a "$1" "$2" $number 50 512 32 256 ;;
            *) if [ "$2" = 1.5 ]; then slow "$1" "$2"; else fast "$1" "$2"; fi ;;
        esac
    done
}

fast() {
    case $number in
        15 | 16 | 22 | 23)
            one a "$1" "$2" $number 10 512 32 256
            [ -z "$CASE_LONG" ] || one b "$1" "$2" $number 10 8192 8 512
            ;;
        27 | 28) one a "$1" "$2" $number "${CASE_PERF:-20}" 16384 32 256 ;;
        *)
            one a "$1" "$2" $number 50 512 32 256
            [ -z "$CASE_LONG" ] || one b "$1" "$2" $number 10 16384 32 1536
            ;;
    esac
}

# 8 bytes every 8 ms: less data, or the driver's own limit of 10 s for a queue ends the case. Case 24 would submit interrupt
# transfers without an interval, which the kernel refuses (EINVAL); it is for bulk endpoints.
slow() {
    case $number in
        13) one a "$1" "$2" 13 2 64 4 24 ;;
        24) say "case a $2 24 absent 0 - -" ;;
        27 | 28) one a "$1" "$2" $number 5 64 8 24 ;;
        *)
            one a "$1" "$2" $number 10 64 4 24
            [ -z "$CASE_LONG" ] || one b "$1" "$2" $number 5 512 2 56
            ;;
    esac
}
