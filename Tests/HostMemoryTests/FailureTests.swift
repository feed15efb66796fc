import Glibc
import Synchronization
import Testing
import VMTypes

@testable import HostMemory

#if DEBUG
@Suite("Failing system calls")
struct FailureTests {
    @Test("mapping with each call failing throws or works, and leaves nothing behind", arguments: Mode.all)
    func mapping(mode: Mode) async {
        let tracking = mode.tracking.rawValue
        let demandFill = mode.demandFill
        await #expect(processExitsWith: .exitCode(7)) { [tracking = tracking as String, demandFill = demandFill as Bool] in
            guardChild()
            let mode = Mode(tracking: DirtyTracking(rawValue: tracking)!, demandFill: demandFill)
            let provider = FakeProvider(mixedLayout() + ["e", "e"])
            _ = HostCapabilities.current
            let window = try AddressWindow(base: nil, byteCount: provider.pageCount << Page.shift)
            var failures = 0
            for call in 0..<200 {
                SystemCall.callsUntilFailure.store(call, ordering: .relaxed)
                do {
                    let mapping = try ExclusiveMapping(
                        address: window.base, pages: PageRange(start: 0, count: provider.pageCount),
                        provider: provider, writable: true, tracking: mode.tracking, demandFill: mode.demandFill)
                    let injected = SystemCall.callsUntilFailure.exchange(-1, ordering: .relaxed) < 0
                    mapping.unmap()
                    if !injected { break }
                } catch let error as StoreError {
                    SystemCall.callsUntilFailure.store(-1, ordering: .relaxed)
                    guard error.errno == ENOMEM, error.code == .full else { exit(2) }
                    failures += 1
                }
            }
            guard failures > 3 else { exit(3) }
            exit(7)
        }
    }

    @Test("a failing scan or restore loses no store", arguments: Mode.all)
    func losesNothing(mode: Mode) async {
        let tracking = mode.tracking.rawValue
        let demandFill = mode.demandFill
        await #expect(processExitsWith: .exitCode(7)) { [tracking = tracking as String, demandFill = demandFill as Bool] in
            guardChild()
            let mode = Mode(tracking: DirtyTracking(rawValue: tracking)!, demandFill: demandFill)
            let fixture = try Fixture(FakeProvider(mixedLayout()), mode)
            let stored = [3, 110, 141, 160, 700]
            for call in 0..<40 {
                for page in stored { fixture.store(UInt8(call), page) }
                var runs: [PageRange] = []
                SystemCall.callsUntilFailure.store(call, ordering: .relaxed)
                try? fixture.mapping.takeDirty(into: &runs)
                try? fixture.mapping.restore([PageRange(start: 900, count: 40)])
                SystemCall.callsUntilFailure.store(-1, ordering: .relaxed)
                try fixture.mapping.takeDirty(into: &runs)
                for page in stored where !runs.contains(where: { $0.contains(page) }) { exit(2) }
                for page in stored where fixture.bytes(page)[100] != UInt8(call) { exit(3) }
            }
            exit(7)
        }
    }
}
#endif
