# Case boot: one guest with QEMU's own controller and a stick on it.
run() {
    cp /guest/vmlinuz /run/stick.img
    truncate -s 16M /run/stick.img
    hash=$(sha256sum /run/stick.img | cut -d' ' -f1)
    guest guest '
device_model_args_hvm = [ "-device", "qemu-xhci,id=peer", "-drive", "file=/run/stick.img,if=none,id=stick,format=raw",
    "-device", "usb-storage,bus=peer.0,drive=stick" ]' || return
    finish guest 120
    guest_said guest "hash $hash" || fail "the guest's hash is not $hash"
}
