import TestSupport
import Testing
import Varve

/// vm_region of a task of an attached process says what was mapped.
@Suite struct AttachedTaskRegionTests {
    @Test(arguments: [false, true], [0, 1, 3] as [UInt64])
    func aRegionHasTheOffsetAtWhichItWasMapped(_ copy: Bool, _ pages: UInt64) throws {
        let bench = try Bench()
        let page = Bench.page
        try bench.store.createObject(named: "a", size: pages * page)
        let remote = try RemoteStore.connect(bench.fixture.path)
        let task = try remote.task(windowSize: 1 << 30), object = try remote.object(named: "a")
        for offset in [0, page, 2 * page, 5 * page, 1 << 40, 1 << 63] {
            let address = try task.map(size: 2 * page, object: object, offset: offset, copy: copy, maximum: .default)
            #expect(try task.region(address).offset == offset)
            #expect(try task.region(address).isCopied == copy && task.region(address).residentPages >= 0)
            // Clipped, the rest begins where it did.
            try task.deallocate(address: address, size: page)
            #expect(try task.region(address).offset == offset + page)
            try task.deallocate(address: address, size: 2 * page)
        }
        remote.close()
        try bench.store.close()
    }
}
