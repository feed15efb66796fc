import VarveCommands

VarveCommandLine.main()
