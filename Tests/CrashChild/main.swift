// A process that works on a store until it is killed or the power goes, and one that looks at what is left, for the crash tests.
//
//   varve-crash-child FOLDER SEED STEPS MIX DESCRIPTOR
//
// Opens the store in FOLDER, performs the steps of SEED, writes the version that each came to (8 bytes) to DESCRIPTOR after
// it ("acknowledged"), and closes the store. What is done between two versions depends on the model alone.
//
//   varve-crash-child work FOLDER SEED | recover FOLDER | check
//
// An adapter of the crash lab: see LabWork.swift.
import Glibc
import PageStore
import PageStoreModel
import TestSupport
import VMTypes

let arguments = CommandLine.arguments
switch arguments.dropFirst().first {
case "work" where arguments.count == 4: LabWork.run(folder: arguments[2], seed: UInt64(arguments[3])!)
case "recover" where arguments.count == 3: LabWork.recover(folder: arguments[2])
case "check": LabCheck.serve()
default: break
}
guard arguments.count == 6, let seed = UInt64(arguments[2]), let steps = Int(arguments[3]),
    let mix = CrashSteps.Mix(rawValue: arguments[4]), let output = Int32(arguments[5])
else { exit(64) }
alarm(60)

func acknowledge(_ version: Version) {
    var value = version.rawValue
    withUnsafeBytes(of: &value) { bytes in
        if write(output, bytes.baseAddress!, bytes.count) != bytes.count { exit(65) }
    }
}

do {
    let store = try PageStore.open(arguments[1])
    // The small objects of the steps are checkpointed and merged too.
    store.checkpointPolicy = .eager
    store.mergePolicy = .eager
    var model = Model(of: store)
    let scratch = Scratch()
    for step in CrashSteps.make(count: steps, seed: seed, mix) {
        _ = try store.perform(step, &model, scratch)
        acknowledge(model.last)
    }
    try store.close()
    exit(0)
} catch {
    let text = Array("\(error)\n".utf8)
    _ = write(2, text, text.count)
    exit(66)
}
