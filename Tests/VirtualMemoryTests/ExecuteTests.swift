import Foundation
import TestSupport
import Testing
import Varve

/// Code in mapped memory runs where the map allows execution, and faults where it does not.
@Suite struct ExecuteTests {
    /// A function that returns 42.
    #if arch(arm64)
        private static let code: [UInt8] = [0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6]
    #else
        private static let code: [UInt8] = [0xb8, 0x2a, 0, 0, 0, 0xc3]
    #endif

    /// Maps code as `protection` says, and calls it.
    private static func run(_ path: String, _ protection: Protection, _ residency: Residency, _ way: String) throws -> Int32 {
        let store = try Store.open(path)
        var task = try store.task(named: "main")
        let object = try store.createObject(named: "code", size: 4096, residency: residency)
        var address = try task.map(size: 4096, object: object)
        try code.withUnsafeBytes { try task.write(address: address, $0) }
        switch way {
        case "protected": try task.protect(address: address, size: 4096, protection)
        case "copied": address = try task.map(size: 4096, object: object, copy: true, current: protection)
        default:
            try task.protect(address: address, size: 4096, protection)
            try store.commit()
            try store.close()
            task = try Store.open(path).task(named: "main")
            address = task.entries[0].start
        }
        let function = unsafeBitCast(task.pointer(address), to: (@convention(c) () -> Int32).self)
        return function()
    }

    @Test(arguments: [Residency.shared, .exclusive], ["protected", "copied", "reopened"])
    func codeRunsWhereExecutionIsAllowedAndFaultsElsewhere(_ residency: Residency, _ way: String) async throws {
        for protection in [Protection([.read, .execute]), .all, .default, .read] {
            let fixture = StoreFixture()
            try fixture.create()
            let expected: ExitTest.Condition = protection.contains(.execute) ? .exitCode(42) : .signal(SIGSEGV)
            await #expect(processExitsWith: expected, "\(protection)") {
                [path = fixture.path as String, bits = protection.rawValue as Int32, residency = residency.rawValue as UInt8, way = way as String] in
                quietEnd()
                exit(try Self.run(path, Protection(rawValue: bits), Residency(rawValue: residency)!, way))
            }
        }
    }
}
