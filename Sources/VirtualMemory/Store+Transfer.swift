internal import Glibc
public import PageStore
public import VMTypes

extension Store {
    /// Bytes of an object in a state.
    public func size(of reference: ObjectReference) throws(StoreError) -> UInt64 { try view(reference).view.size }

    /// Reads committed bytes, each page checked; returns how many, fewer at the object's end.
    public func read(_ reference: ObjectReference, offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(StoreError)
        -> Int
    {
        let view = try pinned(reference).view
        guard offset < view.size else { return 0 }
        let count = min(buffer.count, Int(view.size - offset))
        guard count > 0 else { return 0 }
        let chunk = UnsafeMutableRawPointer.allocate(byteCount: 256 * Page.size, alignment: Page.size)
        defer { chunk.deallocate() }
        var done = 0
        while done < count {
            let position = Int(offset) + done
            let page = position >> Page.shift
            let within = position & (Page.size - 1)
            let pageCount = min(256, Page.count(forBytes: within + count - done))
            try view.read(PageRange(start: page, count: pageCount), into: chunk)
            let take = min(count - done, pageCount * Page.size - within)
            memcpy(buffer.baseAddress! + done, chunk + within, take)
            done += take
        }
        return count
    }

    /// Writes bytes to an object as one commit: all of them or none.
    ///
    /// - Parameter next: Gives the bytes piece by piece; nil ends them.
    /// - Throws: `.invalid` where they would pass the object's end, `.busy` where the object is mapped in this process.
    @discardableResult
    public func write(
        _ name: String, offset: UInt64, from next: () throws(StoreError) -> [UInt8]?, message: String = ""
    ) throws(StoreError) -> (version: Version, bytes: UInt64) {
        try requireWriter("a write")
        let info = try liveObject(name)
        return try withMemory { (memory) throws(StoreError) in
            try requireUnmapped(info, memory)
            let view = try pages.head(of: info.id)
            let stage = try pages.stage(info.id)
            var position = offset
            let page = UnsafeMutableRawPointer.allocate(byteCount: Page.size, alignment: Page.size)
            defer { page.deallocate() }
            var open: Int?
            while let bytes = try next() {
                guard UInt64(bytes.count) <= view.size, position <= view.size - UInt64(bytes.count) else {
                    throw StoreError(
                        .invalid, "\(bytes.count) bytes at offset \(position) pass the \(view.size) bytes of object '\(name)'",
                        advice: "Resize the object first", path: path)
                }
                var done = 0
                while done < bytes.count {
                    let number = Int(position) >> Page.shift
                    let within = Int(position) & (Page.size - 1)
                    if open != number {
                        if let open { try stage.add(page: open, page, size: view.size) }
                        try view.read(PageRange(start: number, count: 1), into: page)
                        open = number
                    }
                    let take = min(bytes.count - done, Page.size - within)
                    bytes.withUnsafeBytes { _ = memcpy(page + within, $0.baseAddress! + done, take) }
                    done += take
                    position += UInt64(take)
                }
            }
            guard let open else { return (try version(of: .head), 0) }
            try stage.add(page: open, page, size: view.size)
            let text = message.isEmpty ? "write \(position - offset) bytes at \(offset) of \(name)" : message
            let version = try pages.commit(stage, size: view.size, operations: [.message(text)])
            return (version, position - offset)
        }
    }

    /// What an import did.
    public struct ImportReport: Hashable, Sendable {
        public var object: ObjectInfo
        public var version: Version
        public var bytes: UInt64
        /// Pages that hold data; the rest are holes or zeros.
        public var dataPages: Int
        public var seconds: Double
    }

    /// Makes an object of a host file's bytes as they are now; holes stay holes.
    ///
    /// The file is read under a check of its identity, size and times: one that changes meanwhile is read again, and
    /// refused with `.changedWhileRead` where it keeps changing. Later changes of the file never change the object.
    public func importFile(_ file: String, named name: String, message: String = "") throws(StoreError) -> ImportReport {
        try requireWriter("an import")
        let begun = seconds()
        if try pages.object(named: name) != nil {
            throw StoreError(.exists, "an object named '\(name)' is there", advice: "Choose another name", path: path)
        }
        let id = ObjectID(pages.newID())
        let read = try ingest(file, into: id)
        let version = try pages.commit(
            read.stage, size: UInt64(read.identity.size),
            operations: [
                .createObject(id: id, name: name, size: UInt64(read.identity.size), residency: .shared),
                .message(message.isEmpty ? "import \(file)" : message),
            ])
        return ImportReport(
            object: try pages.object(id)!, version: version, bytes: UInt64(read.identity.size), dataPages: read.dataPages,
            seconds: seconds() - begun)
    }

    /// Takes a host file's bytes as they are at one moment as pages of an object, ahead of their commit.
    func ingest(_ file: String, into id: ObjectID) throws(StoreError)
        -> (stage: Stage, dataPages: Int, identity: HostFile.Identity)
    {
        for _ in 0..<3 {
            let source = try HostFile(file, O_RDONLY | O_NONBLOCK)
            try source.settleTimes()
            let before = try source.identity()
            guard before.isRegular else {
                throw StoreError(.invalid, "only a regular file can be imported", advice: "Copy its contents into one first", path: file)
            }
            try checkSize(UInt64(before.size))
            let stage = try pages.stage(id)
            let dataPages = try ingest(source, size: before.size, stage)
            let again = try HostFile(file, O_RDONLY | O_NONBLOCK)
            guard try source.identity() == before, try again.identity() == before else { continue }
            return (stage, dataPages, before)
        }
        throw StoreError(
            .changedWhileRead, "the file changed each time it was read", advice: "Stop what writes to it and try again", path: file)
    }

    private func ingest(_ source: HostFile, size: Int, _ stage: Stage) throws(StoreError) -> Int {
        let chunk = 256 * Page.size
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: chunk, alignment: Page.size)
        defer { buffer.deallocate() }
        var dataPages = 0
        var offset = 0
        while let data = try source.nextData(from: offset, size: size) {
            var position = Int(Page.trunc(UInt64(max(data.lowerBound, offset))))
            let end = data.upperBound
            while position < end {
                let count = min(chunk, Page.count(forBytes: end - position) * Page.size)
                memset(buffer, 0, count)
                _ = try source.read(into: buffer, count: min(count, size - position), at: position)
                for page in 0..<count / Page.size where !isZero(buffer + page * Page.size) {
                    try stage.add(page: position / Page.size + page, buffer + page * Page.size, size: UInt64(size))
                    dataPages += 1
                }
                position += count
            }
            offset = position
        }
        return dataPages
    }

    private func isZero(_ page: UnsafeMutableRawPointer) -> Bool {
        page.load(as: UInt64.self) == 0 && memcmp(page, page + 8, Page.size - 8) == 0
    }

    /// What an export did.
    public struct ExportReport: Hashable, Sendable {
        public var bytes: UInt64
        public var version: Version
        public var seconds: Double
    }

    /// Writes an object's state to a host file: whole and synced under a temporary name, then renamed, so that the path
    /// holds the old file or the new one. Zero pages become holes.
    ///
    /// Throws `.exists` where the file is there and `overwrite` is false, `.damaged` before anything is renamed.
    @discardableResult
    public func export(_ reference: ObjectReference, to file: String, overwrite: Bool = true) throws(StoreError) -> ExportReport {
        let begun = seconds()
        if !overwrite, access(file, F_OK) == 0 {
            throw StoreError(.exists, "the file is there", advice: "Choose another name, or overwrite it", path: file)
        }
        let (view, version) = try pinned(reference)
        let slash = file.lastIndex(of: "/")
        let folder = slash.map { $0 == file.startIndex ? "/" : String(file[..<$0]) } ?? "."
        let name = slash.map { String(file[file.index(after: $0)...]) } ?? file
        let prefix = ".\(name).varve-"
        HostFiles.removeLeftovers(prefix, in: folder)
        let temporary = "\(folder)/\(prefix)\(getpid())"
        do throws(StoreError) {
            try write(view, to: temporary)
            try give(temporary, its: file, overwrite: overwrite)
        } catch {
            unlink(temporary)
            throw error
        }
        try HostFiles.syncFolder(folder)
        return ExportReport(bytes: view.size, version: version, seconds: seconds() - begun)
    }

    /// Gives a file its name; where another has it by now, and `overwrite` is false, that one stays.
    private func give(_ temporary: String, its file: String, overwrite: Bool) throws(StoreError) {
        func there() -> StoreError { StoreError(.exists, "the file is there", advice: "Choose another name, or overwrite it", path: file) }
        if !overwrite {
            if link(temporary, file) == 0 {
                unlink(temporary)
                return
            }
            if errno == EEXIST { throw there() }
            // A file system without links: what is tested may change before it is done.
            if access(file, F_OK) == 0 { throw there() }
        }
        if rename(temporary, file) != 0 { throw HostFiles.error("rename", file, errno) }
    }

    private func write(_ view: ObjectView, to path: String) throws(StoreError) {
        let target = try HostFile(path, O_WRONLY | O_CREAT | O_EXCL)
        let size = Int(view.size)
        if ftruncate(target.descriptor, off_t(size)) != 0 { throw HostFiles.error("size the file", path, errno) }
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: 256 * Page.size, alignment: Page.size)
        defer { buffer.deallocate() }
        for run in view.extents(in: PageRange(start: 0, count: view.pageCount)) where run.extent != .zeros {
            var page = run.pages.start
            while page < run.pages.end {
                let count = min(256, run.pages.end - page)
                try view.read(PageRange(start: page, count: count), into: buffer)
                try target.write(buffer, count: min(count * Page.size, size - page * Page.size), at: page * Page.size)
                page += count
            }
        }
        if !Mutant.isPlanted(.exportNotSynced), fsync(target.descriptor) != 0 { throw HostFiles.error("sync the file", path, errno) }
    }
}

/// Seconds since some moment of this boot.
func seconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
