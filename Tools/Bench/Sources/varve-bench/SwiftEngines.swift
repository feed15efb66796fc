/// The engines that run in this executable, by name.
enum SwiftEngines {
    static let all: [String: MakeCommitEngine] = [:]
}
