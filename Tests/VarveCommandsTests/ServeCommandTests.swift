import Foundation
import Glibc
import Testing
import Varve

@testable import VarveCommands

/// `varve serve`, in a process of its own.
@Suite(.enabled(if: builtProgram != nil, "needs the program, built beside the tests"))
struct ServeCommandTests {
    @Test(.timeLimit(.minutes(2)), arguments: [SIGTERM, SIGINT])
    func serveHoldsTheStoreUntilASignalAndClosesIt(_ signal: Int32) throws {
        let store = TestStore()
        #expect(store("create", "o", "--size", "64K").code == 0)
        let server = try RunningProgram(builtProgram ?? "", ["serve", store.path, "--json"])
        let line = server.output.fileHandleForReading.availableData
        let told = try #require(try JSONSerialization.jsonObject(with: line) as? [String: Any])
        #expect(told["process"] as? Int == Int(server.process.processIdentifier))
        #expect((told["objects"] as? [[String: Any]])?.first?["name"] as? String == "o")
        #expect(store("rm", "o", "--yes").code == 11)

        let remote = try RemoteStore.connect(store.path)
        let task = try remote.task()
        let address = try task.map(size: 65536, object: try remote.object(named: "o"), maximum: .default)
        task.pointer(address).storeBytes(of: 5, as: UInt8.self)
        try remote.commit(message: "from afar")
        task.pointer(address).storeBytes(of: 6, as: UInt8.self)

        kill(server.process.processIdentifier, signal)
        #expect(try server.finish().code == 0)
        #expect { try remote.commit() } throws: { ($0 as? StoreError)?.code == .io || ($0 as? StoreError)?.code == .unknownOutcome }
        #expect(store("read", "o", "--length", "1").output == Data([5]))
        #expect(try store("stat", "--json").json()["clean"] as? Bool == true)
    }
}
