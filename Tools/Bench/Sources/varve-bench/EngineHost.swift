import CPeer

/// Lets the C protocol loop drive an engine written in Swift.
final class EngineHost {
    private let make: MakeCommitEngine
    private var engine: (any CommitEngine)?

    private let bytes: Int

    init(make: @escaping MakeCommitEngine, bytes: Int) {
        self.make = make
        self.bytes = bytes
    }

    /// Serves the protocol until `quit`; an error of the engine ends the process with its text on stderr.
    func serve(directory: String, objectBytes: UInt64, seed: UInt64) -> Int32 {
        var callbacks = peer_engine(
            context: Unmanaged.passUnretained(self).toOpaque(),
            prepare: { context, directory, pages in
                EngineHost.from(context).prepare(String(cString: directory!), pageCount: Int(pages))
            },
            commit: { context, page, content, count in
                EngineHost.from(context).commit(
                    pages: UnsafeBufferPointer(start: page, count: count),
                    contents: UnsafeRawBufferPointer(start: content, count: count * Int(PEER_PAGE_BYTES)))
            },
            finish: { context in EngineHost.from(context).finish() })
        return withExtendedLifetime(self) { peer_main(&callbacks, directory, objectBytes, seed) }
    }

    private static func from(_ context: UnsafeMutableRawPointer?) -> EngineHost {
        Unmanaged<EngineHost>.fromOpaque(context!).takeUnretainedValue()
    }

    private func prepare(_ directory: String, pageCount: Int) {
        orFail("prepare") {
            engine = try make(
                directory, pageCount, { peer_fill($0.baseAddress?.assumingMemoryBound(to: UInt8.self), $0.count) }, bytes)
        }
    }

    private func commit(pages: UnsafeBufferPointer<UInt32>, contents: UnsafeRawBufferPointer) {
        orFail("commit") { try engine!.commit(pages: pages, contents: contents) }
    }

    private func finish() {
        orFail("finish") { try engine!.finish() }
    }

    private func orFail(_ step: String, _ body: () throws -> Void) {
        do { try body() } catch { peer_fail_message(step, "\(error)") }
    }
}
