internal import Glibc
public import PageStore
public import VMTypes

extension Store {
    /// A persistent object with a host file's bytes as its base, to be mapped: made at the first call, the same one later.
    ///
    /// The file is *ingested*, under a check of its identity, size and times: its bytes are pages of the store from then on, so
    /// that nothing that happens to the file changes what the object, its copies and its snapshots read. A later call
    /// looks at the file: where its identity, size and modification time are those that were ingested, the object is answered as it is, with all that
    /// was committed to it since. Where it has changed, its bytes become the object's next version, and the older one stays
    /// as versions do. What stores to mapped memory change is the object's alone; `export` writes it to a file.
    ///
    /// Which file was ingested is kept by a snapshot of the object, `of-file:` and numbers, which is also the way to that
    /// state; without it the file is ingested again.
    ///
    /// - Throws: `.notFound`, `.io`; `.invalid` for what is not a regular file; `.changedWhileRead` where the file
    ///   keeps changing; `.exists` where an object of that name was not made by this call; `.busy` where the file has
    ///   changed and the object is mapped, or has uncommitted changes; `.full`.
    public func fileObject(path file: String, named name: String) throws(StoreError) -> ObjectInfo {
        try requireWriter("an object of a file")
        return try withMemory { (memory) throws(StoreError) in
            try checkOpen(memory)
            guard let known = try pages.object(named: name) else { return try makeObject(of: file, named: name) }
            let mark = "of-file:\(known.id.rawValue):"
            guard let snapshot = try pages.snapshots().first(where: { $0.object == known.id && $0.name.hasPrefix(mark) }) else {
                throw StoreError(
                    .exists, "the object '\(name)' was not made of a file, or the snapshot that tells of which is gone",
                    advice: "Choose another name, or delete the object", path: path)
            }
            let current = try HostFile(file, O_RDONLY | O_NONBLOCK).identity()
            if snapshot.name == mark + current.text { return known }
            try requireUnmapped(known, memory)
            return try ingest(file, again: known, mark, replacing: snapshot.name)
        }
    }

    private func makeObject(of file: String, named name: String) throws(StoreError) -> ObjectInfo {
        let id = ObjectID(pages.newID())
        let read = try ingest(file, into: id)
        let size = UInt64(read.identity.size)
        _ = try pages.commit(
            read.stage, size: size,
            operations: [
                .createObject(id: id, name: name, size: size, residency: .shared),
                .createSnapshot(
                    name: "of-file:\(id.rawValue):" + read.identity.text, version: .infinity, object: id, message: file),
                .message("ingest \(file)"),
            ])
        return try pages.object(id)!
    }

    private func ingest(_ file: String, again known: ObjectInfo, _ mark: String, replacing old: String) throws(StoreError)
        -> ObjectInfo
    {
        let read = try ingest(file, into: known.id)
        let size = UInt64(read.identity.size)
        var operations: [StoreOperation] = size == known.size ? [] : [.resizeObject(id: known.id, size: size)]
        if mark + read.identity.text != old {
            operations += [
                .deleteSnapshot(name: old),
                .createSnapshot(name: mark + read.identity.text, version: .infinity, object: known.id, message: file),
            ]
        }
        operations.append(.message("ingest \(file)"))
        // The layer replaces all pages of older ones.
        if read.dataPages == 0 {
            _ = try pages.commit([emptyLayer(known.id, size: size, floor: 0)], operations: operations)
        } else {
            _ = try pages.commit(read.stage, size: size, floorPage: 0, operations: operations)
        }
        return try pages.object(known.id)!
    }
}

extension HostFile.Identity {
    /// The same while a file is not written to.
    fileprivate var text: String {
        ([device, inode].map { String($0) } + ([size] + modified).map { String($0) }).joined(separator: "-")
    }
}
