internal import Glibc

/// A block device whose writes, flushes and discards are logged: QEMU's storage daemon (driver blklogwrites) has a volume in a file,
/// exports it as another file (FUSE), and a loop device is over that.
///
/// When the kernel is told that a request is over, the log has it: entries that came before a line was printed lie in the log then.
struct LoggedDisk {
    static let daemon = "qemu-storage-daemon"
    private static let patience = 10.0

    private let folder: String
    private let type: BlockVolume.FileSystem
    private let size: Int

    /// Where the log grows.
    var log: String { folder + "/log" }
    var place: String { folder + "/mounted" }

    /// `folder`: for its files; `volume`: what it holds at first.
    init(_ volume: BlockVolume, _ type: BlockVolume.FileSystem, in folder: String) throws(LabError) {
        self.folder = folder
        self.type = type
        size = volume.size
        LabFile.remove(folder)
        try LabFile.makeFolder(folder)
        try LabFile.makeFolder(place)
        for name in ["log", "export"] { try LabFile.write([], to: "\(folder)/\(name)") }
        let data = open(folder + "/volume", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard data >= 0 else { throw .system(folder + "/volume") }
        defer { close(data) }
        try volume.write(to: data)
    }

    /// Mounts it, calls `body`, and takes it down again; what was logged.
    func perform(_ body: () throws(LabError) -> Void) throws(LabError) -> WriteLog {
        let ready = folder + "/ready"
        let child = try Spawn.start(
            [
                "setpriv", "--pdeathsig", "KILL", Self.daemon, "--pidfile", ready,
                "--blockdev", "driver=file,node-name=volume,filename=\(folder)/volume",
                "--blockdev", "driver=file,node-name=log,filename=\(log)",
                "--blockdev", "driver=blklogwrites,node-name=logged,file=volume,log=log,log-sector-size=\(Block.sector)",
                "--export", "type=fuse,id=export,node-name=logged,mountpoint=\(folder)/export,writable=on",
            ], hasInput: false)
        defer { close(child.output) }
        do throws(LabError) {
            try waitFor(ready, child.pid)
            try mountAndCall(body)
        } catch {
            kill(child.pid, SIGKILL)
            _ = Spawn.wait(child.pid)
            throw error
        }
        kill(child.pid, SIGTERM)
        if let end = Spawn.wait(child.pid) { throw LabError("\(Self.daemon) \(end)") }
        return try WriteLog(LabFile.read(log), deviceSize: size)
    }

    /// It writes the file when it serves the export.
    private func waitFor(_ ready: String, _ pid: pid_t) throws(LabError) {
        let end = ContinuousClock.now + .seconds(Self.patience)
        while access(ready, F_OK) != 0 {
            var info = siginfo_t()
            if waitid(P_PID, id_t(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0, info.si_signo == SIGCHLD { throw LabError("\(Self.daemon) does not begin") }
            guard ContinuousClock.now < end else { throw LabError("\(Self.daemon) is not ready within \(Int(Self.patience)) s") }
            usleep(1000)
        }
    }

    private func mountAndCall(_ body: () throws(LabError) -> Void) throws(LabError) {
        let export = open(folder + "/export", O_RDWR | O_CLOEXEC)
        guard export >= 0 else { throw .system("what \(Self.daemon) exports") }
        defer { close(export) }
        let device = try LoopDevice(over: export)
        if let error = device.mount(at: place, type, readOnly: false) { throw error }
        try body()
        // What the file system writes at its end is cut too.
        try device.unmount()
    }
}
