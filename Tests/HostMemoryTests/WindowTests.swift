import Glibc
import HostMemory
import Testing
import VMTypes

@Suite("Address windows")
struct WindowTests {
    @Test("a taken address names its occupant")
    func taken() throws {
        let window = try AddressWindow(base: nil, byteCount: 64 << 20)
        #expect(throws: StoreError.self) { try AddressWindow(base: window.base + 4096, byteCount: 4096) }
        do throws(StoreError) {
            _ = try AddressWindow(base: window.base + 4096, byteCount: 4096)
            Issue.record("reserved twice")
        } catch {
            #expect(error.code == .addressTaken)
            #expect(error.message.contains("---p"))
        }
        #expect(window.contains(address: window.base, byteCount: window.byteCount))
        #expect(!window.contains(address: window.base + 1, byteCount: window.byteCount))
        #expect(!window.contains(address: window.base - 1, byteCount: 1))
        #expect(!window.contains(address: .max, byteCount: .max))
        let base = window.base
        window.release()
        window.release()
        let again = try AddressWindow(base: base, byteCount: 64 << 20)
        #expect(again.base == base)
    }

    @Test("no window where none can be", arguments: [(1, 4096), (4096, 0), (4096, 5000), (UInt64.max - 4095, 8192)] as [(UInt64, Int)])
    func malformed(base: UInt64, byteCount: Int) {
        #expect(throws: StoreError.self) { try AddressWindow(base: base, byteCount: byteCount) }
    }

    @Test("a cleared range is a reservation")
    func clear() async {
        await #expect(processExitsWith: .signal(SIGSEGV)) {
            guardChild()
            let fixture = try Fixture(FakeProvider(("z", 20)), Mode(tracking: .signal, demandFill: false))
            fixture.store(1, 2)
            fixture.mapping.unmap()
            try fixture.window.clear(address: fixture.window.base, byteCount: 5 << Page.shift)
            fixture.store(1, 2)
        }
    }

    @Test("what the host allows is consistent")
    func capabilities() {
        let host = HostCapabilities.current
        #expect(host.pageSize == 4096)
        #expect(host.asyncWriteProtect == host.asyncWriteProtectReason.isEmpty)
        #expect(host.demandFaults == host.demandFaultsReason.isEmpty)
        #expect(host.maximumMappings > 0)
        #expect(!host.kernelRelease.isEmpty)
        print("host:", host)
    }
}
