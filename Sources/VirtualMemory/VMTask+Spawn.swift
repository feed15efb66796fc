internal import AddressMap
internal import Glibc
internal import HostMemory
internal import PageStore
internal import Synchronization
public import VMTypes

extension VMTask {
    /// Starts a program that receives this task's memory as each region's inheritance says.
    ///
    /// The program gets it by `RemoteTask.inherited`, at the same addresses: a region that is *shared* shows both sides each
    /// other's writes, and commits include what the program stores; one that is *copied* is a copy as of the call; *none* is
    /// absent. Until then, and afterwards for its requests, it is served by this process, as every attached one is. A
    /// program that never asks costs a connection until it ends.
    ///
    /// Shared regions are brought to memory whole, and copied ones are copied, byte by byte. Shared memory without a name
    /// lies in one file with all such memory of this process: the program could reach that too, as a forked child could.
    ///
    /// - Parameters:
    ///   - executable: The program's path.
    ///   - arguments: What follows the program's name.
    ///   - environment: Nil gives it ours; `VARVE_TASK` is set in either.
    ///   - descriptors: By the number that the program sees, the descriptor of ours that it is. What is not closed on exec
    ///     is inherited as ever.
    /// - Throws: INVALID_ARGUMENT where there is no such program, or the host can't start it; RESOURCE_SHORTAGE at a limit
    ///   of the host; NOT_SUPPORTED where memory would be shared that
    ///   a memory manager serves; NO_ACCESS for a store that is open for reading; MEMORY_ERROR; TERMINATED. No program was
    ///   started then.
    public func spawn(
        _ executable: String, arguments: [String] = [], environment: [String: String]? = nil, descriptors: [Int32: Int32] = [:]
    ) throws(VMError) -> SpawnedProgram {
        guard !([executable] + arguments).contains(where: { $0.utf8.contains(0) }), descriptors.allSatisfy({ (0..<1 << 20).contains($0.key) && $0.value >= 0 })
        else { throw VMError(.invalidArgument, "an argument holds a zero byte, or a descriptor's number is out of 0 ..< 2^20") }
        try fillShared()
        let inherited = try inheritance()
        do throws(StoreError) {
            var ends: [Int32] = [-1, -1]
            guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
                store.abandonInheritance(inherited)
                throw HostFiles.error("connect the program", store.path, errno)
            }
            defer { for end in ends { close(end) } }
            do throws(StoreError) { try store.serve(inherited, over: ends[0]) } catch {
                store.abandonInheritance(inherited)
                throw error
            }
            let launch = ProgramLaunch(executable: executable, arguments: arguments, environment: environment, descriptors: descriptors)
            return try launch.start(connectedBy: ends[1])
        } catch {
            if error.code == .invalid { throw VMError(.invalidArgument, error.description) }
            return try VMError.translating { () throws(StoreError) in throw error }
        }
    }

    /// Brings what is going to be shared to memory, without the store's lock.
    private func fillShared() throws(VMError) {
        let shared = try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            guard store.isWriter else { throw VMError(.noAccess, "the store is open for reading") }
            var found: [ObjectID: SharedMemory] = [:]
            for entry in map.entries where entry.inheritance == .share {
                guard let id = entry.backing.object, let object = memory.mapped[id], object.managed == nil,
                    case .shared(let shared) = object.home, !object.livePages.isEmpty
                else { continue }
                found[id] = shared
            }
            return found.values
        }
        try VMError.translating { () throws(StoreError) in
            for memory in shared {
                var next = 0
                while next < memory.pageCount {
                    let part = PageRange(start: next, count: min(4096, memory.pageCount - next))
                    try memory.fill(part)
                    next = part.end
                }
            }
        }
    }

    private func inheritance() throws(VMError) -> InheritedTask {
        try store.withManagers { (memory) throws(VMError) in
            try checkAttached(memory)
            var builder = InheritanceBuilder()
            do throws(VMError) {
                var copied = 0
                for entry in map.entries where entry.inheritance == .copy {
                    guard let id = entry.backing.object, let object = memory.mapped[id] else { continue }
                    if object.managed != nil { try memory.require(entry.pages, of: object) }
                    copied += entry.pages.intersection(object.livePages).count
                }
                try VMError.translating { () throws(StoreError) in try builder.reserveCopies(copied) }
                for entry in map.entries where entry.inheritance != .none { try add(entry, to: &builder, &memory) }
            } catch {
                builder.undo()
                throw error
            }
            return builder.finish(self)
        }
    }

    private func add(_ entry: MapEntry, to builder: inout InheritanceBuilder, _ memory: inout Store.Memory) throws(VMError) {
        guard let id = entry.backing.object, let object = memory.mapped[id] else { return builder.reserve(entry) }
        guard entry.inheritance == .share else {
            return try VMError.translating { () throws(StoreError) in try builder.copy(entry, object) }
        }
        guard object.managed == nil else {
            throw VMError(
                .notSupported, "\(hexadecimal(entry.range)) is to be shared with a program, and its pages come from a memory manager")
        }
        let shared = try memory.shareable(id, store)
        try VMError.translating { () throws(StoreError) in try builder.share(entry, shared) }
    }
}

extension Store {
    /// Answers a program that was started, over its connection.
    func serve(_ inherited: InheritedTask, over socket: Int32) throws(StoreError) {
        let server = server.withLock { $0 }
        guard let server else { throw StoreError(.wrongState, "the store was closed", advice: "Open it again", path: path) }
        try server.attachments.add(socket, store: self, mayWrite: true, inherited)
    }

    func abandonInheritance(_ inherited: InheritedTask) { takeBack(Array(inherited.ports.values)) }
}
