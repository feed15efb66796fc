internal import Glibc
internal import Varve

/// Reads an object's states a chunk at a time, so that large ones need little memory.
struct StateReader {
    private static let chunkPages = 256
    let store: Store
    let object: String
    let size: Int

    init(_ store: Store, object: String, size: Int) {
        self.store = store
        self.object = object
        self.size = size
    }

    /// Calls `body` for each page of a state, until it says no; whether it never did.
    ///
    /// The last page has only the bytes that belong to the object.
    func pages(of state: Store.State, _ body: (Int, UnsafeRawBufferPointer) throws -> Bool) throws -> Bool {
        let buffer = Self.buffer()
        defer { buffer.deallocate() }
        for start in stride(from: 0, to: size, by: buffer.count) {
            let chunk = try read(state, start, into: buffer)
            for offset in stride(from: 0, to: chunk.count, by: Page.size) {
                let bytes = UnsafeRawBufferPointer(rebasing: chunk[offset..<min(offset + Page.size, chunk.count)])
                guard try body((start + offset) / Page.size, bytes) else { return false }
            }
        }
        return true
    }

    /// The pages in which two states differ, byte by byte.
    func pagesThatDiffer(between a: Store.State, and b: Store.State) throws -> Set<Int> {
        let buffer = Self.buffer()
        defer { buffer.deallocate() }
        var result: Set<Int> = []
        var start = -1
        var other = UnsafeRawBufferPointer(buffer)
        _ = try pages(of: a) { page, bytes in
            let wanted = page / Self.chunkPages * buffer.count
            if wanted != start {
                start = wanted
                other = try read(b, start, into: buffer)
            }
            if memcmp(bytes.baseAddress!, other.baseAddress! + (page * Page.size - start), bytes.count) != 0 {
                result.insert(page)
            }
            return true
        }
        return result
    }

    private static func buffer() -> UnsafeMutableRawBufferPointer {
        .allocate(byteCount: chunkPages * Page.size, alignment: Page.size)
    }

    private func read(_ state: Store.State, _ start: Int, into buffer: UnsafeMutableRawBufferPointer) throws
        -> UnsafeRawBufferPointer
    {
        let wanted = min(buffer.count, size - start)
        let reference = Store.ObjectReference(name: object, state: state)
        let count = try store.read(
            reference, offset: UInt64(start), into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
        guard count == wanted else {
            throw StoreError(.io, "\(object) ends after \(start + count) bytes, not \(size)", path: store.path)
        }
        return UnsafeRawBufferPointer(rebasing: buffer[..<wanted])
    }
}

/// Compares files byte by byte.
enum FileComparison {
    /// Whether a file holds exactly these bytes.
    static func equal(_ path: String, _ bytes: UnsafeRawBufferPointer) throws(StoreError) -> Bool {
        let file = try open(path)
        defer { close(file) }
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        var position = 0
        while true {
            let count = try read(file, path, &chunk)
            if count == 0 { return position == bytes.count }
            guard count <= bytes.count - position, memcmp(chunk, bytes.baseAddress! + position, count) == 0 else { return false }
            position += count
        }
    }

    /// Whether two files hold the same bytes.
    static func equal(_ a: String, _ b: String) throws(StoreError) -> Bool {
        let files = (try open(a), try open(b))
        defer {
            close(files.0)
            close(files.1)
        }
        var chunks = ([UInt8](repeating: 0, count: 1 << 20), [UInt8](repeating: 0, count: 1 << 20))
        while true {
            let count = try read(files.0, a, &chunks.0)
            guard try read(files.1, b, &chunks.1) == count, chunks.0[..<count] == chunks.1[..<count] else { return false }
            if count == 0 { return true }
        }
    }

    private static func open(_ path: String) throws(StoreError) -> Int32 {
        let file = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .system("the file can't be opened", path: path, errno: errno) }
        return file
    }

    /// As many bytes as there are, up to the chunk's size.
    private static func read(_ file: Int32, _ path: String, _ chunk: inout [UInt8]) throws(StoreError) -> Int {
        var total = 0
        while total < chunk.count {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress! + total, $0.count - total) }
            if count == 0 { break }
            if count > 0 { total += count } else if errno != EINTR {
                throw .system("the file can't be read", path: path, errno: errno)
            }
        }
        return total
    }
}
