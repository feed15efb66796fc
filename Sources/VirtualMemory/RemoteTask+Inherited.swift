internal import Glibc
internal import HostMemory
internal import PageStore
internal import Synchronization
public import VMTypes

extension RemoteTask {
    /// The memory of the task that started this process by `VMTask.spawn`, at the same addresses.
    ///
    /// Shared regions are the same memory as there; the task that is returned is this process's own. Its `store` commits, and
    /// opens objects, as one that `RemoteStore.connect` gave. Can be called once.
    ///
    /// - Parameter patience: How long each answer of the process that started this one may take, now and later.
    /// - Throws: `.notFound` where this process was not started so; `.wrongState` for a second call; `.io` where the process
    ///   that started it has ended, has closed its store or does not answer; `.addressTaken` where something lies in the
    ///   window; `.full` at a limit of the host.
    public static func inherited(patience: Duration = .seconds(60)) throws(StoreError) -> RemoteTask {
        let socket = try InheritedConnection.take()
        let (store, first) = try RemoteStore.inherited(over: socket, patience: patience)
        guard let base = first.windowBase, let size = first.windowSize, var regions = first.regions, let count = first.regionCount
        else { throw StoreError(.io, "The process that started this one answered without a window") }
        while regions.count < count {
            var request = AttachmentRequest(.inherit)
            request.first = regions.count
            guard let more = try store.ask(request).answer.regions, !more.isEmpty else {
                throw StoreError(.io, "The process that started this one sent \(regions.count) regions of \(count)")
            }
            regions += more
        }
        let task = try RemoteTask(store: store, windowBase: base, windowSize: size)
        var files: [Int: ForeignMemory] = [:]
        try task.receive(regions) { (number) throws(StoreError) in
            if let known = files[number] { return known }
            var request = AttachmentRequest(.file)
            request.file = number
            let (answer, descriptor) = try store.ask(request)
            guard let descriptor, let pages = answer.pages else {
                if let descriptor { close(descriptor) }
                throw StoreError(.io, "The process that started this one sent no memory")
            }
            let memory = try ForeignMemory(taking: descriptor, pageCount: pages, isWritable: answer.writes == true)
            files[number] = memory
            return memory
        }
        return task
    }
}

/// The connection that a program was started with.
private enum InheritedConnection {
    private static let isTaken = Mutex(false)

    static func take() throws(StoreError) -> Int32 {
        let parts = (getenv(ProgramLaunch.variable).map { String(cString: $0) } ?? "").split(separator: ":")
        var status = stat()
        // The variable may be one that the program's parent was started with: the socket must be the one that it names.
        guard parts.count == 2, let descriptor = Int32(parts[0]), let number = UInt64(parts[1]), fstat(descriptor, &status) == 0,
            status.st_mode & S_IFMT == S_IFSOCK, UInt64(status.st_ino) == number
        else { throw StoreError(.notFound, "This process was not started with a task", advice: "Start it by VMTask.spawn") }
        try isTaken.withLock { isTaken throws(StoreError) in
            if isTaken { throw StoreError(.wrongState, "The inherited task was taken already", advice: "Keep the first one") }
            isTaken = true
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        ControlSocket(descriptor: descriptor).setTimeout(seconds: 60)
        return descriptor
    }
}
