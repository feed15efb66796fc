import Glibc
import HostMemory
import Testing
import VMTypes

/// Prints how long things take; run with VARVE_MEASURE=1, in a release build. Asserts nothing about time.
@Suite("Measurements of shared memory", .enabled(if: getenv("VARVE_MEASURE") != nil), .serialized)
struct SharedMeasureTests {
    private static let rounds = 10_000

    private func microseconds(_ body: () throws -> Void) rethrows -> Double {
        let time = try ContinuousClock().measure(body)
        return (Double(time.components.attoseconds) / 1e12 + Double(time.components.seconds) * 1e6) / Double(Self.rounds)
    }

    /// One after the other, of 1 to 4 pages, at the places that a first fit would give them.
    @Test("mappings from an arena", arguments: [false, true])
    func small(touched: Bool) throws {
        let provider = ZeroProvider()
        let arena = try MemoryArena()
        let window = try AddressWindow(base: nil, byteCount: 1 << 30)
        let sizes = (0..<Self.rounds).map { $0 & 3 + 1 }
        func touch(_ address: UInt64, _ count: Int) {
            guard touched else { return }
            for page in 0..<count {
                UnsafeMutableRawPointer(bitPattern: UInt(address))!.storeBytes(of: 1, toByteOffset: page << Page.shift, as: UInt8.self)
            }
        }
        let plain = microseconds {
            for count in sizes {
                let made = mmap(nil, count << Page.shift, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
                touch(UInt64(UInt(bitPattern: made)), count)
                munmap(made, count << Page.shift)
            }
        }
        let turns = try microseconds {
            for count in sizes {
                let memory = try SharedMemory(pageCount: count, provider: provider, arena: arena)
                let mapping = try memory.map(
                    at: window.base, pages: PageRange(start: 0, count: count), protection: .default, writable: true)
                touch(window.base, count)
                mapping.unmap()
            }
        }
        var dirty: [PageRange] = []
        let finding = try microseconds {
            for count in sizes {
                dirty.removeAll(keepingCapacity: true)
                let memory = try SharedMemory(pageCount: count, provider: provider, arena: arena)
                let mapping = try memory.map(
                    at: window.base, pages: PageRange(start: 0, count: count), protection: .default, writable: true)
                touch(window.base, count)
                _ = try mapping.unmap(PageRange(start: 0, count: count), dirty: &dirty)
            }
        }
        var mappings: [SharedMapping] = []
        mappings.reserveCapacity(Self.rounds)
        var address = window.base
        let making = try microseconds {
            for count in sizes {
                let memory = try SharedMemory(pageCount: count, provider: provider, arena: arena)
                mappings.append(
                    try memory.map(
                        at: address, pages: PageRange(start: 0, count: count), protection: .default, writable: true))
                touch(address, count)
                address += UInt64(count << Page.shift)
            }
        }
        let taking = try microseconds { for mapping in mappings { try mapping.takeDirty(into: &dirty) } }
        let again = try microseconds { for mapping in mappings { try mapping.takeDirty(into: &dirty) } }
        let ending = microseconds { for mapping in mappings { mapping.unmap() } }
        print(
            "measure [\(touched ? "touched" : "untouched")]: map + unmap \(turns) µs (plain mmap + munmap \(plain) µs),",
            "with unmap that finds stores \(finding) µs; 10,000 at once: map \(making), first take \(taking),",
            "next take \(again), unmap \(ending) µs each")
        mappings = []
    }
}

/// An object that was never written.
final class ZeroProvider: PageProvider {
    let fileDescriptor: Int32 = -1
    func runs(in range: PageRange) throws(StoreError) -> [(pages: PageRange, kind: RunKind)] { [(range, .zero)] }
    func fill(_ range: PageRange, into destination: UnsafeMutableRawPointer) throws(StoreError) {
        memset(destination, 0, range.count << Page.shift)
    }
}
