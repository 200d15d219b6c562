def test_keep(deployed, toy, toy_checkpoint):
    print('KEEP', deployed.folder, toy.config, toy_checkpoint)
