using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("XenUsbDm.UnitTests")]
