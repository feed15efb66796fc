import Glibc
import HostMemory
import Synchronization
import VMTypes

/// Gives pages with known bytes, from a file of its own and from memory.
final class FakeProvider: PageProvider {
    struct State {
        var kinds: [RunKind]
        /// Committed bytes, where they are not the initial pattern.
        var committed: [Int: [UInt8]] = [:]
        /// Pages whose fill fails.
        var broken: Set<Int> = []
        var filledPages = 0
    }

    let fileDescriptor: Int32
    let state: Mutex<State>

    /// - Parameter layout: One letter a page: z zero, f in the file at its own place, p to be filled, e beyond the end.
    init(_ layout: [Character]) {
        var kinds: [RunKind] = []
        for (page, letter) in layout.enumerated() {
            switch letter {
            case "z": kinds.append(.zero)
            case "f": kinds.append(.file(offset: page << Page.shift))
            case "e": kinds.append(.beyondEnd)
            default: kinds.append(.fill)
            }
        }
        state = Mutex(State(kinds: kinds))
        var name = Array("/tmp/host-memory-XXXXXX".utf8CString)
        fileDescriptor = mkstemp(&name)
        unlink(name)
        ftruncate(fileDescriptor, off_t(layout.count << Page.shift))
        for (page, letter) in layout.enumerated() where letter == "f" {
            let bytes = Self.pattern(page)
            pwrite(fileDescriptor, bytes, bytes.count, off_t(page << Page.shift))
        }
    }

    convenience init(_ pieces: (Character, Int)...) {
        self.init(pieces.flatMap { Array(repeating: $0.0, count: $0.1) })
    }

    deinit { close(fileDescriptor) }

    var pageCount: Int { state.withLock { $0.kinds.count } }

    static func pattern(_ page: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: page &* 7 &+ 1), count: Page.size)
        bytes[0] = UInt8(truncatingIfNeeded: page)
        bytes[1] = UInt8(truncatingIfNeeded: page >> 8)
        return bytes
    }

    /// The committed bytes of a page.
    func bytes(_ page: Int) -> [UInt8] { state.withLock { Self.bytes(page, $0) } }

    private static func bytes(_ page: Int, _ state: State) -> [UInt8] {
        if let bytes = state.committed[page] { return bytes }
        return state.kinds[page] == .zero ? [UInt8](repeating: 0, count: Page.size) : pattern(page)
    }

    func commit(_ page: Int, _ bytes: [UInt8]) {
        state.withLock {
            $0.committed[page] = bytes
            $0.kinds[page] = .fill
        }
    }

    func runs(in range: PageRange) throws(StoreError) -> [(pages: PageRange, kind: RunKind)] {
        state.withLock { state in
            var runs: [(pages: PageRange, kind: RunKind)] = []
            for page in range.start..<range.end {
                let kind = state.kinds[page]
                if let last = runs.last {
                    var joins = last.kind == kind
                    if case .file(let offset) = last.kind, case .file(let next) = kind {
                        joins = next == offset + last.pages.count << Page.shift
                    }
                    if joins {
                        runs[runs.count - 1].pages.count += 1
                        continue
                    }
                }
                runs.append((PageRange(start: page, count: 1), kind))
            }
            return runs
        }
    }

    func fill(_ range: PageRange, into destination: UnsafeMutableRawPointer) throws(StoreError) {
        let broken = state.withLock { state in
            for page in range.start..<range.end {
                if state.broken.contains(page) { return page }
                let bytes = Self.bytes(page, state)
                memcpy(destination + (page - range.start) << Page.shift, bytes, Page.size)
                state.filledPages += 1
            }
            return -1
        }
        if broken >= 0 { throw StoreError(.damaged, "Page \(broken) is damaged") }
    }
}
