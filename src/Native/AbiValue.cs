namespace XenUsbDm.Native;

/// <summary>A number of ours and the C expression over a library's headers that must equal it; the unit tests have gcc compare them.</summary>
/// <param name="Name">For messages.</param>
/// <param name="Value">As compiled into this project.</param>
/// <param name="Expression">In C.</param>
internal readonly record struct AbiValue(string Name, long Value, string Expression);
