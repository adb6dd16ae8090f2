# Turns the text of "lsusb -v" back into the bytes of the descriptors: lines "PORT KIND HEX" and "PORT string/INDEX TEXT", in the
# words of our process's inspect tree. Bytes that lsusb does not print are dots. First input: lines "PORT BUS DEVICE".

function number(text,    i, value) {
    if (text !~ /^0x/) return text + 0
    for (i = 3; i <= length(text); i++) value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
    return value
}

function bytes(value, count,    text) {
    for (; count > 0; count--) {
        text = text sprintf("%02x", value % 256)
        value = int(value / 256)
    }
    return text
}

function flush_block() {
    # The last byte of a qualifier is reserved.
    if (port != "" && kind != "") print port, kind, block (kind == "qualifier" ? ".." : "")
    kind = block = ""
}

FNR == NR { place[$2 + 0 "," $3 + 0] = $1; next }

/^Bus [0-9]+ Device [0-9]+:/ {
    flush_block()
    sub(":", "", $4)
    port = place[$2 + 0 "," $4 + 0]
    configurations = 0
    next
}
port == "" { next }
/^Negotiated speed: SuperSpeed/ { milliamperes[port] = 8 }
/^Device Descriptor:/ { flush_block(); kind = "device" }
/^  Configuration Descriptor:/ { flush_block(); kind = "configuration/" configurations++ }
/^Device Qualifier/ { flush_block(); kind = "qualifier" }
/^Binary Object Store Descriptor:/ { flush_block(); kind = "bos" }
/^(Device Status|Hub Descriptor)/ { flush_block() }
kind == "" { next }

# "bcdUSB 2.00" is 0x0200
$1 ~ /^bcd/ { text = $2; sub(/\./, "", text); while (length(text) < 4) text = "0" text; block = block bytes(number("0x" text), 2); next }
$1 ~ /^(w|id)[A-Z]/ || $1 == "bU2DevExitLat" { block = block bytes(number($2), 2); next }
$1 == "bmAttributes" { block = block bytes(number($2), $2 ~ /^0x/ ? (length($2) - 2) / 2 : 1); next }
$1 == "MaxPower" { block = block bytes(($2 + 0) / (port in milliamperes ? milliamperes[port] : 2), 1); next }
# The companion's length and type are not printed, its bytes per interval neither, its attributes only when they are not 0.
$1 == "bMaxBurst" { block = block "0630" bytes(number($2), 1) "00...."; next }
$1 == "Mult" || $1 == "MaxStreams" {
    value = $2 + 0
    if ($1 == "MaxStreams") { exponent = 0; while (value > 1) { value /= 2; exponent++ } value = exponent }
    block = substr(block, 1, length(block) - 6) bytes(value, 1) "...."
    next
}
$1 ~ /^i[A-Z]/ {
    block = block bytes($2, 1)
    text = $0
    sub(/^ *[A-Za-z]+ +[0-9]+ ?/, "", text)
    if ($2 != 0) print port, "string/" $2, text
    next
}
$1 ~ /^b[A-Z]/ { block = block bytes(number($2), 1); next }

END { flush_block() }
