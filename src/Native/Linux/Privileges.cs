using System.Globalization;
using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Linux;

/// <summary>Giving privileges away, for good.</summary>
public static unsafe class Privileges
{
    /// <summary>
    /// The process (all its threads) becomes <paramref name="user"/>, a name or a user number, with that user's group alone,
    /// and can gain no privileges any more. What is open stays open. On false <paramref name="error"/> says why, and the
    /// process should end: a part may have been given away.
    /// </summary>
    public static bool TryBecome(string user, out string error)
    {
        if (!TryFind(user, out uint id, out uint group))
        {
            error = "there is no such user";
            return false;
        }

        bool done = Libc.SetGroups(0, null) == 0 && Libc.SetGroup(group, group, group) == 0 && Libc.SetUser(id, id, id) == 0
            && Libc.ProcessControl(Libc.NoNewPrivileges, 1, 0, 0, 0) == 0;
        error = done ? "" : $"{Marshal.GetLastPInvokeErrorMessage()}; only root can become another user";
        return done;
    }

    private static bool TryFind(string user, out uint id, out uint group)
    {
        // A user without an account, as toolstacks count them per domain: the group has the same number.
        group = 0;
        if (uint.TryParse(user, NumberStyles.None, CultureInfo.InvariantCulture, out id))
        {
            group = id;
            return true;
        }

        Libc.Account* account = Libc.FindAccount(user);
        if (account is null) return false;
        id = account->User;
        group = account->Group;
        return true;
    }
}
