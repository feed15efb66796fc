import Glibc
import Synchronization
import Testing
import VMTypes

@testable import HostMemory

@Suite("Shared memory on a host that swaps")
struct SharedSwapTests {
    @Test("a store is found though the kernel took the page out of the page table", arguments: [false, true])
    func takenOut(cut: Bool) async {
        await #expect(processExitsWith: .exitCode(7)) { [cut = cut as Bool] in
            guardChild()
            guard HostCapabilities.current.asyncWriteProtect else { exit(7) }
            SwapActivity.isSuspected.store(true, ordering: .relaxed)
            let mode = Mode(tracking: .asyncWriteProtect, demandFill: HostCapabilities.current.demandFaults)
            let fixture = try SharedFixture(FakeProvider(("p", 100), ("z", 1500)), mode, inArena: true)
            let mapping = fixture.mappings[0]
            let stored = [5, 200, 201, 1400]
            for page in stored {
                mapping.store(1, page)
                guard madvise(mapping.pointer(toPage: page), Page.size, MADV_DONTNEED) == 0 else { exit(2) }
            }
            guard try Set(mapping.peek()).isSuperset(of: stored) else { exit(3) }
            if cut {
                var dirty: [PageRange] = []
                _ = try mapping.unmap(PageRange(start: 0, count: 1600), dirty: &dirty)
                exit(Set(dirty.flatMap { Array($0.start..<$0.end) }).isSuperset(of: stored) ? 7 : 4)
            }
            guard try Set(mapping.take()).isSuperset(of: stored), try mapping.take().isEmpty else { exit(5) }
            for page in stored {
                mapping.store(2, page)
                guard madvise(mapping.pointer(toPage: page), Page.size, MADV_DONTNEED) == 0 else { exit(2) }
            }
            guard try mapping.take() == stored, mapping.bytes(1400)[100] == 2 else { exit(6) }
            exit(7)
        }
    }
}
