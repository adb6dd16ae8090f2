/*
 * Ports of the default xHCI controller (4 connectors, each with a USB 2 and a USB 3 port) for an operating system that
 * reads ACPI: which root ports are user-visible type A connectors, and which two ports share one connector.
 *
 * The controller is PCI 00:1e.0 (the default slot). Another slot needs another _ADR; another number of ports needs
 * other RHUB children. HSnn are root ports 1-4, SSnn root ports 5-8 (Usb2Ports first, as in XhciOptions).
 *
 *   iasl -p xhci xhci.asl
 */
DefinitionBlock ("", "SSDT", 2, "XENUSB", "XHCIPORT", 0x00000001)
{
    External (\_SB.PCI0, DeviceObj)

    Scope (\_SB.PCI0)
    {
        Device (XHC0)
        {
            Name (_ADR, 0x001E0000)

            Device (RHUB)
            {
                Name (_ADR, Zero)

                // ACPI 6.4 9.14: connectable, type; 0x03 is USB 3 Standard-A.
                Name (UPCA, Package (0x04) { 0xFF, 0x03, Zero, Zero })

                // ACPI 6.4 6.1.8. The two ports of a connector return the same object, so they are at the same place.
                Name (PLD1, Package (0x01)
                {
                    ToPLD (
                        PLD_Revision = 0x2,
                        PLD_IgnoreColor = 0x1,
                        PLD_UserVisible = 0x1,
                        PLD_Panel = "BACK",
                        PLD_VerticalPosition = "CENTER",
                        PLD_HorizontalPosition = "CENTER",
                        PLD_Shape = "HORIZONTALRECTANGLE",
                        PLD_GroupOrientation = 0x1,
                        PLD_GroupToken = 0x1,
                        PLD_GroupPosition = 0x1,
                        PLD_VerticalOffset = 0xFFFF,
                        PLD_HorizontalOffset = 0xFFFF)
                })

                Name (PLD2, Package (0x01)
                {
                    ToPLD (
                        PLD_Revision = 0x2,
                        PLD_IgnoreColor = 0x1,
                        PLD_UserVisible = 0x1,
                        PLD_Panel = "BACK",
                        PLD_VerticalPosition = "CENTER",
                        PLD_HorizontalPosition = "CENTER",
                        PLD_Shape = "HORIZONTALRECTANGLE",
                        PLD_GroupOrientation = 0x1,
                        PLD_GroupToken = 0x1,
                        PLD_GroupPosition = 0x2,
                        PLD_VerticalOffset = 0xFFFF,
                        PLD_HorizontalOffset = 0xFFFF)
                })

                Name (PLD3, Package (0x01)
                {
                    ToPLD (
                        PLD_Revision = 0x2,
                        PLD_IgnoreColor = 0x1,
                        PLD_UserVisible = 0x1,
                        PLD_Panel = "BACK",
                        PLD_VerticalPosition = "CENTER",
                        PLD_HorizontalPosition = "CENTER",
                        PLD_Shape = "HORIZONTALRECTANGLE",
                        PLD_GroupOrientation = 0x1,
                        PLD_GroupToken = 0x1,
                        PLD_GroupPosition = 0x3,
                        PLD_VerticalOffset = 0xFFFF,
                        PLD_HorizontalOffset = 0xFFFF)
                })

                Name (PLD4, Package (0x01)
                {
                    ToPLD (
                        PLD_Revision = 0x2,
                        PLD_IgnoreColor = 0x1,
                        PLD_UserVisible = 0x1,
                        PLD_Panel = "BACK",
                        PLD_VerticalPosition = "CENTER",
                        PLD_HorizontalPosition = "CENTER",
                        PLD_Shape = "HORIZONTALRECTANGLE",
                        PLD_GroupOrientation = 0x1,
                        PLD_GroupToken = 0x1,
                        PLD_GroupPosition = 0x4,
                        PLD_VerticalOffset = 0xFFFF,
                        PLD_HorizontalOffset = 0xFFFF)
                })

                Device (HS01)
                {
                    Name (_ADR, 0x01)
                    Method (_UPC, 0, Serialized) { Return (UPCA) }
                    Method (_PLD, 0, Serialized) { Return (PLD1) }
                }

                Device (HS02)
                {
                    Name (_ADR, 0x02)
                    Method (_UPC, 0, Serialized) { Return (UPCA) }
                    Method (_PLD, 0, Serialized) { Return (PLD2) }
                }

                Device (HS03)
                {
                    Name (_ADR, 0x03)
                    Method (_UPC, 0, Serialized) { Return (UPCA) }
                    Method (_PLD, 0, Serialized) { Return (PLD3) }
                }

                Device (HS04)
                {
                    Name (_ADR, 0x04)
                    Method (_UPC, 0, Serialized) { Return (UPCA) }
                    Method (_PLD, 0, Serialized) { Return (PLD4) }
                }

                Device (SS01)
                {
                    Name (_ADR, 0x05)
                    Method (_UPC, 0, Serialized) { Return (UPCA) }
                    Method (_PLD, 0, Serialized) { Return (PLD1) }
                }

                Device (SS02)
                {
                    Name (_ADR, 0x06)
                    Method (_UPC, 0, Serialized) { Return (UPCA) }
                    Method (_PLD, 0, Serialized) { Return (PLD2) }
                }

                Device (SS03)
                {
                    Name (_ADR, 0x07)
                    Method (_UPC, 0, Serialized) { Return (UPCA) }
                    Method (_PLD, 0, Serialized) { Return (PLD3) }
                }

                Device (SS04)
                {
                    Name (_ADR, 0x08)
                    Method (_UPC, 0, Serialized) { Return (UPCA) }
                    Method (_PLD, 0, Serialized) { Return (PLD4) }
                }
            }
        }
    }
}
