internal import Glibc
internal import HostMemory
internal import PageStore
internal import Synchronization
public import VMTypes

extension Store {
    /// Who may attach to the process that holds a store.
    public enum Audience: Sendable {
        /// The user that the process runs as, and root: to read, write and commit.
        case owner
        /// Members of the folder's group as well, to read what `owner` shares with them.
        case groupReads
    }

    /// Chooses who may attach to this process; at first it is `.owner`.
    ///
    /// Attaching is served from the opening on, by a thread of its own for each process that does. With `.groupReads` the
    /// control socket belongs to the folder's group; its members need the right to search the folder.
    ///
    /// - Throws: `.locked` for a reader; `.io` where the socket's group or mode can't be set.
    public func serve(_ audience: Audience) throws(StoreError) {
        try requireWriter("serving")
        let server = server.withLock { $0 }
        guard let server else { throw StoreError(.wrongState, "the store was closed", advice: "Open it again", path: path) }
        try server.admit(audience)
    }

    /// Processes that are attached, and the ports that they have.
    public var attachments: (processes: Int, ports: Int) { server.withLock { $0 }?.attachments.counts ?? (0, 0) }

    /// A named object's memory for another process: a descriptor, the caller's to close, of all its pages.
    ///
    /// The object stays in memory until `takeBack`. Bytes come from the disk without the store's lock held.
    func give(_ name: String, writes: Bool) throws(StoreError) -> (descriptor: Int32, info: ObjectInfo, pages: Int) {
        let (object, shared, info) = try withMemory { (memory) throws(StoreError) in
            try checkOpen(memory)
            memory.releaseHandles(self)
            let info = try liveObject(name)
            guard !info.name.isEmpty, info.residency == .shared else {
                throw StoreError(
                    .unsupported,
                    info.name.isEmpty
                        ? "object \(info.id) has no name: its memory lies in a file with others'"
                        : "object '\(info.name)' has exclusive residency: its memory can't be shared",
                    advice: "Share an object with a name that was made with shared residency", path: path)
            }
            let object: MappedObject
            do throws(VMError) { object = try memory.resident(info.id, self) } catch {
                throw StoreError(
                    error.code == .resourceShortage ? .full : .io, "object '\(info.name)' can't be brought to memory: \(error.message)",
                    path: path)
            }
            guard case .shared(let shared) = object.home else {
                throw StoreError(.busy, "object '\(info.name)' is mapped exclusively", path: path)
            }
            memory.mapped[info.id] = object
            object.handles += 1
            return (object, shared, info)
        }
        do throws(StoreError) {
            var next = 0
            while next < object.livePages.end {
                let part = PageRange(start: next, count: min(4096, object.livePages.end - next))
                try shared.fill(part)
                next = part.end
            }
            let descriptor = try withMemory { (memory) throws(StoreError) in
                try checkOpen(memory)
                let made = try shared.makeDescriptor(readOnly: !writes)
                if writes { object.isGivenOut = true }
                return made
            }
            return (descriptor, info, shared.pageCount)
        } catch {
            takeBack([info.id])
            throw error
        }
    }

    /// Lets go of objects that `give` gave. What their users stored is part of the next commit.
    func takeBack(_ ids: [ObjectID]) {
        withMemory { memory in
            guard !memory.isClosed else { return }
            for id in ids {
                guard let object = memory.mapped[id] else { continue }
                object.handles -= 1
                // Where this fails now, the next commit does it, or says why not.
                if object.hasForeignWriters, (try? attachView(object)) != nil { try? object.gather() }
                try? memory.release(id, self)
            }
        }
    }
}
