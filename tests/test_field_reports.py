"""An index: what users of OpenMMLab and of the backends report in public, and the tests that hold each case.

The sources are issues of the named repositories. A test is ``path::function``; a report whose case is one of a table of
cases says so after it. A fault of the same kind is added as a case to the test of its kind.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent

COCO = 'test_datasets/test_coco_checks.py::test_every_fault_is_named'
DOCTOR = 'test_datasets/test_doctor.py::'
PREFLIGHT = 'test_datasets/test_preflight.py::'
PASTED = 'test_library_errors.py::test_a_text_that_users_paste'
RAISED = 'test_library_errors.py::test_an_error_as_the_library_raises_it'

REPORTS: dict[int, tuple[str, str, tuple[str, ...]]] = {
    1: (
        'num_classes of one head is forgotten',
        'mmdetection#11555, #7804, #8529',
        (f'{PREFLIGHT}test_a_head_with_another_number_of_classes',),
    ),
    2: (
        'the data set comes out empty',
        'mmdetection#11858, #10820, #10668, #7105',
        (COCO, 'test_datasets/test_coco_checks.py::test_images_without_objects_where_these_are_left_out', RAISED),
    ),
    3: (
        'the order of the categories is not that of the classes',
        'mmdetection#10675, #11704, #1732',
        (COCO, f'{PREFLIGHT}test_splits_that_name_their_classes_differently'),
    ),
    4: ('an annotation has id 0', 'cvat PR#748, cocoapi#507', (COCO,)),
    5: ('iscrowd or area is missing', 'cocoapi#374, #318', (COCO, RAISED, PASTED)),
    6: ('Mask R-CNN on boxes only', 'mmdetection#8543, #9993, #10961', (COCO, RAISED)),
    8: (
        'one predictor, several threads',
        'openvino#13519, TensorRT#2040',
        (
            'test_runtime/test_many_images.py::test_16_threads',
            'test_runtime/test_many_images.py::test_threads_share_one_predictor_and_keep_its_results',
        ),
    ),
    9: (
        'masks of 0 and 255',
        'mmsegmentation#1609, #1313',
        ('test_datasets/test_label_maps.py::test_masks_of_0_and_255',),
    ),
    10: (
        'two test pipelines in a config',
        'mmsegmentation#3050, mmdeploy#513',
        (
            'test_deploy/test_conversion.py::test_data_sets_that_are_joined_or_repeated',
            'test_deploy/test_conversion.py::test_input_is_checked_before_the_work_dir_is_touched',
        ),
    ),
    11: (
        'a list of images is one batch',
        'ultralytics#24218',
        ('test_runtime/test_many_images.py::test_lists_and_iterators',),
    ),
    13: (
        'the loss is NaN, training and export go on',
        'geti#907, mmdetection#5911',
        (
            'test_engine/test_finite.py::test_a_loss_that_is_not_finite_ends_the_run',
            'test_engine/test_finite.py::test_weights_that_are_not_finite_are_not_saved',
            'test_engine/test_finite.py::test_predictions_that_are_not_finite_are_refused',
            'test_apis/test_training.py::test_a_training_that_diverges_ends_and_keeps_its_last_checkpoint',
            'test_checkpoint.py::test_weights_that_are_not_finite_are_refused',
            'test_deploy/test_proof/test_proof.py::test_a_network_that_is_not_finite_never_passes',
        ),
    ),
    14: ('UperNet with one image a batch', 'mmsegmentation#272', (RAISED,)),
    15: (
        'persistent workers without workers',
        'mmsegmentation#2514',
        ('test_config_keys.py::test_settings_for_workers_that_are_not_there',),
    ),
    16: (
        'a key that nothing reads, or from before MMEngine',
        'mmengine',
        ('test_config_keys.py::test_typing_errors', 'test_config_keys.py::test_names_from_before_mmengine'),
    ),
    17: (
        'cuda was asked for and the CPU runs',
        'onnxruntime#23372',
        (
            'test_runtime/test_backends/test_sessions.py::test_a_device_that_is_not_there',
            'test_runtime/test_backends/test_sessions.py::test_a_provider_that_does_not_load',
        ),
    ),
    19: (
        'max_epochs is changed, the schedule is not',
        'mmdetection#10378',
        ('test_engine/test_schedule.py::test_faults_are_named_with_a_remedy',),
    ),
    20: (
        'image files that are not there',
        'mmdetection#6779',
        (COCO, 'test_datasets/test_coco_checks.py::test_names_that_hold_the_folder_already'),
    ),
    21: (
        'images that are not JPEG, data sets that are joined',
        'mmsegmentation#3280, mmdetection#7079',
        (
            'test_deploy/test_proof/test_images.py::test_images_of_any_format_are_found_in_the_data_set',
            'test_deploy/test_proof/test_images.py::test_images_of_data_sets_that_are_joined',
            'test_apis/test_artefact.py::test_data_sets_that_are_joined_are_evaluated',
        ),
    ),
    23: (
        'test-dev without annotations',
        'mmdetection#3651',
        (f'{PREFLIGHT}test_unlabelled_images_are_tested_without_annotations',),
    ),
    24: ('out of memory', 'mmdetection#3314', (PASTED, RAISED, 'test_library_errors.py::test_batches_are_described')),
    25: (
        'dense masks of a large image',
        'inference PR#2682',
        ('test_runtime/test_masks.py::test_a_region_is_the_size_of_its_box',),
    ),
    26: (
        'libGL.so.1 in a slim container',
        'mmsegmentation#1567',
        ('test_environment.py::test_without_the_libraries_of_a_desktop_the_headless_opencv_is_named', PASTED),
    ),
    27: (
        'pickling and forking a predictor',
        'onnxruntime#7846',
        (
            'test_runtime/test_many_images.py::test_pickling_keeps_the_folder_and_the_options',
            'test_runtime/test_many_images.py::test_a_forked_process_gets_a_message',
        ),
    ),
    31: ('classes from a text file', 'mmengine', (f'{PREFLIGHT}test_the_classes_of_a_data_set',)),
    33: (
        'INT8 saturates on a CPU without VNNI',
        'onnxruntime#14642',
        ('test_deploy/test_proof/test_report.py::test_what_was_exported_is_told',),
    ),
    35: (
        '--resume with another network',
        'SIGSEGV here',
        ('test_apis/test_training.py::test_resuming_another_network_or_optimizer_is_refused',),
    ),
    36: ('boxes that cannot be', 'found here', (COCO, 'test_datasets/test_coco_checks.py::test_warnings')),
    37: (
        'image entries without sizes, masks of another size, lost references',
        'found here',
        (COCO, 'test_datasets/test_loading.py::test_the_size_is_compared_where_the_image_is_loaded'),
    ),
    38: (
        'a page saved as a checkpoint',
        'found here',
        (
            'test_checkpoint.py::test_other_files_are_named',
            'test_checkpoint.py::test_a_page_in_place_of_a_checkpoint_does_not_stay_in_the_cache',
        ),
    ),
}
"""Number to title, source and tests."""


@pytest.mark.parametrize('number', REPORTS)
def test_the_tests_of_a_report_exist(number):
    _, _, tests = REPORTS[number]
    for test in tests:
        path, _, function = test.partition('::')
        tree = ast.parse((ROOT / path).read_text())
        assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, test
