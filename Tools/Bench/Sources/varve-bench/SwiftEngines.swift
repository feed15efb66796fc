/// The engines that run in this executable, by name.
enum SwiftEngines {
    static let all: [String: MakeCommitEngine] = [
        "varve": { try VarveEngine(directory: $0, pageCount: $1, fill: $2, declares: false, bytes: $3) },
        "varve-declared": { try VarveEngine(directory: $0, pageCount: $1, fill: $2, declares: true, bytes: $3) },
    ]
}
