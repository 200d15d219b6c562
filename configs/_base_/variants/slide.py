# Sliding-window inference for segmentation: windows of the training crop, each third of a window overlapped, class
# scores averaged where windows overlap (mmseg's usual setting for crops of 512). Larger images then cost more time but
# no more memory; an image that a window covers gives what whole-image inference gives.
model = dict(test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))
