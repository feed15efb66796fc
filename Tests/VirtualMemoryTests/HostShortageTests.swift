#if DEBUG
import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

@testable import HostMemory

/// What the host refuses is RESOURCE_SHORTAGE, or MEMORY_ERROR, and the call has changed nothing.
@Suite struct HostShortageTests {
    static let calls = ["map", "copy", "allocate", "deallocate", "protect", "remap", "child", "vm_copy", "second", "cut"]

    private static func perform(_ call: String, _ bench: Bench, _ object: ObjectInfo, _ heap: ObjectInfo, _ addresses: [UInt64]) throws {
        let task = bench.task, page = Bench.page
        switch call {
        case "map": try task.map(size: 20 * page, object: object)
        case "copy": try task.map(size: 20 * page, object: object, copy: true)
        case "allocate": try task.allocate(size: 20 * page)
        case "deallocate": try task.deallocate(address: addresses[0] + 3 * page, size: 5 * page)
        case "protect": try task.protect(address: addresses[0] + 3 * page, size: 5 * page, .read)
        case "remap": try task.remap(size: 20 * page, source: task, sourceAddress: addresses[0], copy: true)
        case "child": _ = try task.createChild(named: "child")
        case "vm_copy": try task.copy(source: addresses[0], size: 20 * page, destination: addresses[1])
        case "second": try task.map(size: 20 * page, object: heap)
        default: try task.deallocate(address: addresses[2] + 3 * page, size: 5 * page)
        }
    }

    @Test(arguments: everyMode, calls)
    func aCallThatTheHostFailsChangesNothing(_ options: Store.OpenOptions, _ call: String) async {
        let isSignal = options.tracking == .signal, fills = options.demandFill == true
        await #expect(processExitsWith: .exitCode(7), "\(call)") {
            [isSignal = isSignal as Bool, fills = fills as Bool, call = call as String] in
            quietEnd()
            let bench = try Bench(.init(tracking: isSignal ? .signal : .asyncWriteProtect, demandFill: fills))
            bench.store.setLeastLazyCopy(pages: 1)
            let object = try bench.store.createObject(named: "a", size: 20 * Bench.page)
            let heap = try bench.store.createObject(named: "heap", size: 20 * Bench.page, residency: .exclusive)
            let addresses = [
                try bench.task.map(size: 20 * Bench.page, object: object), try bench.task.allocate(size: 20 * Bench.page),
                try bench.task.map(size: 20 * Bench.page, object: heap),
            ]
            for address in addresses { bench.fill(address, Array(1...20)) }
            try bench.store.commit()
            for address in addresses { bench.fill(address, [71, 72]) }
            let before = bench.task.entries, wanted = [71, 72] + Array(3...20)
            var refusals = 0
            for number in 0..<200 {
                SystemCall.callsUntilFailure.store(number, ordering: .relaxed)
                let code = bench.code { try HostShortageTests.perform(call, bench, object, heap, addresses) }
                let isOver = SystemCall.callsUntilFailure.exchange(-1, ordering: .relaxed) >= 0
                if code == .success, isOver || call == "child" { break }
                if code == .success {
                    // It did without what failed.
                    try bench.store.abandon()
                    for address in addresses { bench.fill(address, [71, 72]) }
                    continue
                }
                refusals += 1
                guard code == .resourceShortage || code == .memoryError else { exit(2) }
                guard bench.task.entries == before else { exit(3) }
                for address in addresses where bench.words(address, 20) != wanted { exit(4) }
            }
            guard refusals > 0 else { exit(5) }
            // What was stored is there still.
            try bench.store.commit()
            try bench.store.close()
            let again = try bench.reopened(.init())
            let task = try again.task(named: "main")
            guard bench.words(addresses[0], 3, of: task) == [71, 72, 3] else { exit(6) }
            exit(7)
        }
    }
}
#endif
